"""The scenarios: what is recorded, and how many states of it are recovered from."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.process import python_environment
from powerloss import trace
from powerloss.judge import Peers, judge
from powerloss.states import points, states
from powerloss.workload import Settings
from support.serve import served

MEMORY = Path("/dev/shm")
ROOM = 1 << 30
SHOWN = 10
"""How many states are told of after which something is wrong."""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards, unless something is left in it to be looked into.

    In memory where there is room: a real disk's fsync would take most of the time, and adds
    nothing, since what is recorded is when it was asked for.
    """
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    base = Path(tempfile.mkdtemp(prefix="powerloss-", dir=MEMORY if roomy else None))
    yield base
    if not list(base.glob("*/states/*")):
        shutil.rmtree(base)


@dataclass
class Result:
    """What was done, and what was found."""

    calls: int = 0
    points: int = 0
    states: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    """How often the power failed where."""
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def recovered(self) -> int:
        """The states after which nothing was wrong."""
        return self.states - self.wrong["states"]


@dataclass(frozen=True)
class Scenario:
    """A workload, recorded once, and `states` of what the power could have left of it."""

    label: str
    workload: str
    settings: Settings
    states: int

    def run(self, folder: Path, seed: int) -> Result:
        """Record, and recover. Folders of states after which something is wrong stay."""
        machines = folder / "machines"
        (machines / "a").mkdir(parents=True)
        (machines / "b").mkdir()
        output = folder / "strace.out"
        command = [sys.executable, "-m", "powerloss.workload", self.workload, str(machines)]
        trace.record([*command, self.settings.encode()], output, python_environment({}))
        events = list(trace.read(output, machines))
        output.unlink()
        result = Result(calls=len(events), points=len(points(events)))
        chance = random.Random(seed)
        peers = Peers()
        with served(peers) as base:
            for state in states(events, str(machines), self.states, seed):
                place = folder / "states" / str(result.states)
                state.write(place, chance)
                found = judge(state, self.workload, self.settings, place, peers, base)
                result.states += 1
                result.lost[state.lost] += 1
                if found.wrong:
                    result.wrong.update(found.wrong.keys())
                    result.wrong["states"] += 1
                    where = f"{place}, after call {state.point}, {state.lost} without power"
                    result.examples.append(f"{where}: {'; '.join(found.examples[:3])}")
        return result


LONG = (
    Scenario('journal, `durability="disk"`', "journal", Settings(writes=6), 500),
    Scenario("outbox, WAL, `synchronous=FULL`", "outbox", Settings(writes=6), 350),
    Scenario(
        "outbox, rollback journal, `synchronous=EXTRA`",
        "outbox",
        Settings(mode="DELETE", synchronous="EXTRA", writes=6),
        200,
    ),
)

SHORT = (
    Scenario("journal", "journal", Settings(writes=4), 30),
    Scenario("outbox", "outbox", Settings(writes=4), 15),
)

WEAK = (
    Scenario("journal, sync() and async", "journal", Settings("async", sync=True, writes=4), 25),
    Scenario("outbox, OFF", "outbox", Settings(synchronous="OFF", writes=4), 15),
)
"""What promises less, judged as if it promised all: it must be found losing."""


def play(scenario: Scenario, place: Path, seed: int) -> Result:
    """Run it, and say how it went."""
    started = time.monotonic()
    result = scenario.run(place, seed)
    verdict = "WRONG" if result.wrong else "ok   "
    seconds = time.monotonic() - started
    print(f"{verdict} {seconds:4.0f} s  {scenario.label}: {result.states} states", flush=True)
    if result.wrong:
        print(f"      {dict(result.wrong)}", *result.examples[:SHOWN], sep="\n      ")
        print(f"      again: make powerloss ARGS=\"--seed {seed} --only '{scenario.label}'\"")
    return result
