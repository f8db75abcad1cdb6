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
from powerloss.states import near_resets, points, resets, states
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
    slowest: float = 0.0
    """The seconds that the slowest recovery took."""
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
    resets: bool = False
    """Whether the states are those around a log that is begun anew while writes go on."""
    weak: bool = False
    """Whether the first state that lost something is enough."""

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
        where = near_resets(events) if self.resets else points(events)
        result = Result(calls=len(events), points=len(where))
        logs = {events[number].path.rpartition(".")[2] for number in resets(events)}
        assert not self.resets or "journal-wal" in logs, "the journal's log is not begun anew"
        chance = random.Random(seed)
        peers = Peers()
        with served(peers) as base:
            for one in states(events, str(machines), self.states, seed, where):
                place = folder / "states" / str(result.states)
                one.write(place, chance)
                began = time.monotonic()
                found = judge(one, self.workload, self.settings, place, peers, base)
                result.slowest = max(result.slowest, time.monotonic() - began)
                result.states += 1
                result.lost[one.lost] += 1
                if found.wrong:
                    result.wrong.update(found.wrong.keys())
                    result.wrong["states"] += 1
                    found_at = f"{place}, after call {one.point}, {one.lost} without power"
                    result.examples.append(f"{found_at}: {'; '.join(found.examples[:3])}")
                    if self.weak and "lost" in found.wrong:
                        break
        return result


LONG = (
    Scenario('journal, `durability="disk"`', "journal", Settings(writes=6), 500),
    Scenario(
        "journal, its log begun anew",
        "journal",
        Settings(writes=40, large=60_000),
        50,
        resets=True,
    ),
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
    Scenario("log begun anew", "journal", Settings(writes=40, large=60_000), 8, resets=True),
    Scenario("outbox", "outbox", Settings(writes=4), 15),
)

WEAK = (
    Scenario(
        "journal, sync() and async",
        "journal",
        Settings("async", sync=True, writes=4),
        100,
        weak=True,
    ),
    Scenario("outbox, OFF", "outbox", Settings(synchronous="OFF", writes=4), 100, weak=True),
)
"""What promises less, judged as if it promised all: it must be found losing."""


def play(scenario: Scenario, place: Path, seed: int) -> Result:
    """Run it, and say how it went."""
    started = time.monotonic()
    result = scenario.run(place, seed)
    verdict = "WRONG" if result.wrong else "ok   "
    seconds = time.monotonic() - started
    slowest = f"the slowest recovery {result.slowest:.1f} s"
    told = f"{result.states} states, {slowest}"
    print(f"{verdict} {seconds:4.0f} s  {scenario.label}: {told}", flush=True)
    if result.wrong:
        print(f"      {dict(result.wrong)}", *result.examples[:SHOWN], sep="\n      ")
        print(f"      again: make powerloss ARGS=\"--seed {seed} --only '{scenario.label}'\"")
    return result
