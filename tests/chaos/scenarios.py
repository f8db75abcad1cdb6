"""The scenarios: what is done, at which durability, with which replicas, and how often."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from chaos import actions, clock, comings, disk, episodes
from chaos.actions import NEEDS, Action
from chaos.check import check
from chaos.drain import STOPPED
from chaos.evidence import Evidence
from chaos.findings import Findings
from chaos.world import Need, World, world
from support import workerd

Weights = Mapping[Action, int]

PEERS = episodes.PEERS
BOTH = ("peer", "workerd")
NAMED = "shop"


@dataclass
class Result:
    """What was done in a scenario and what the checker found."""

    done: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)

    def add(self, other: Result) -> None:
        self.done += other.done
        self.findings.add_all(other.findings)


@dataclass(frozen=True)
class Scenario:
    """`rounds` of `actions`, chosen by their weights, on one world; then a clean end."""

    name: str
    durability: str
    replicas: tuple[str, ...]
    actions: Weights
    rounds: int
    origin: str | None = None
    """The name of the journal, where it has one."""

    @property
    def needs(self) -> set[Need]:
        return {NEEDS[action] for action in self.actions if action in NEEDS}

    @property
    def label(self) -> str:
        return _label(self.name, self.durability, self.replicas)

    def run(self, folder: Path, seed: int) -> Result:
        settings = (self.replicas, self.durability, seed, self.needs, self.origin)
        with world(folder, *settings) as built:
            # Else scenarios of the same actions would all do the same.
            built.chance.seed(f"{seed} {self.label}")
            built.start_app()
            for _ in range(self.rounds):
                chosen = built.chance.choices([*self.actions], [*self.actions.values()])
                chosen[0](built)
            built.let_run(0.1, 0.5)
            built.kill_app()
            built.count_cuts()
            return Result(built.done, _finish(built))


def _finish(built: World) -> Findings:
    """A clean process delivers the rest; then everything is compared."""
    drained = built.drain()
    evidence = Evidence.gather(built.folder, built.durability, drained, built.copies)
    findings = check(evidence, built.readers())
    if not (drained.flushed and drained.closed):
        findings.add("unsettled", "the clean process could not deliver everything")
    for name, state in drained.states.items():
        if state in STOPPED:
            findings.add("unsettled", f"{name} is {state}")
    # A journal with a name keeps its file, with nothing in it that anybody lacks.
    kept = _kept(built)
    left = sorted(path.name for path in built.journal.iterdir() if path.name not in kept)
    if left:
        findings.add("unsettled", f"the journal is not empty: {left}")
    return findings


def _kept(built: World) -> set[str]:
    if built.origin is None:
        return set()
    path = built.journal / f"{built.origin}.journal"
    with closing(sqlite3.connect(path)) as journal:
        # What every replica has is taken out a thousand at a time, now or by the next process.
        (writes,) = journal.execute(
            "SELECT count(*) FROM writes WHERE seq > (SELECT min(position) FROM replicas)"
        ).fetchone()
    return set() if writes else {path.name, f"{built.origin}.lock"}


@dataclass(frozen=True)
class Episodes:
    """`rounds` worlds, each of which ends with a damaged journal."""

    name: str
    durability: str
    play: Callable[[Path, str, int, int], tuple[World, Findings]]
    rounds: int
    replicas: tuple[str, ...] = PEERS
    needs: frozenset[Need] = frozenset()

    @property
    def label(self) -> str:
        return _label(self.name, self.durability, self.replicas)

    def run(self, folder: Path, seed: int) -> Result:
        result = Result()
        for number in range(self.rounds):
            place = folder / str(number)
            built, findings = self.play(place, self.durability, seed + number, number)
            result.add(Result(built.done, findings))
        return result


AnyScenario = Scenario | Episodes


def _label(name: str, durability: str, replicas: tuple[str, ...]) -> str:
    return f"{name}, {durability}, {'+'.join(replicas)}"


KILLS: Weights = {actions.kill_app: 1}
REPLICAS: Weights = {actions.kill_replica: 1}
BOTH_KILLED: Weights = {actions.kill_both: 1}
DOWN: Weights = {actions.kill_app_while_a_replica_is_down: 1}
STOPS: Weights = {
    actions.stop_app: 1,
    actions.stop_replica: 2,
    actions.kill_app_while_a_replica_is_stopped: 2,
}
CUTS: Weights = {actions.cut: 1}
LIES: Weights = {actions.lie: 1}
OUT: Weights = {
    comings.leave_behind: 3,
    comings.leave_whole: 2,
    comings.leave_and_be_copied: 2,
    actions.kill_app: 1,
}
BACK: Weights = {comings.go_back: 3, actions.kill_app: 1, actions.kill_replica: 1}
BEYOND: Weights = {comings.lie_beyond: 3, actions.kill_app: 1}
CHILDREN: Weights = {comings.have_child: 5, actions.kill_app: 1, actions.kill_replica: 1}
SIGNALS: Weights = {actions.interrupt_app: 4, actions.kill_app: 1}
FULL: Weights = {actions.fill: 2, actions.kill_app: 1}
CLOCK: Weights = {
    actions.move_clock: 1,
    actions.kill_app: 1,
    actions.kill_app_while_a_replica_is_down: 2,
}
ALL: Weights = {
    **KILLS,
    **BOTH_KILLED,
    **DOWN,
    **STOPS,
    **CUTS,
    **CLOCK,
    **REPLICAS,
}

LONG: tuple[AnyScenario, ...] = (
    Scenario("the app killed", "async", PEERS, KILLS, 20),
    Scenario("the app killed", "process", BOTH, KILLS, 20),
    Scenario("the app killed", "disk", PEERS, KILLS, 20),
    Scenario("a replica killed", "process", BOTH, REPLICAS, 25),
    Scenario("the app killed, a replica down", "async", BOTH, DOWN, 12),
    Scenario("both killed at once", "process", BOTH, BOTH_KILLED, 12),
    Scenario("both killed at once", "disk", PEERS, BOTH_KILLED, 12),
    Scenario("stopped", "process", BOTH, STOPS, 25),
    Scenario("network cut", "async", BOTH, CUTS, 20),
    Scenario("network cut", "process", PEERS, CUTS, 15),
    Scenario("hostile answers", "async", BOTH, LIES, 15),
    Scenario("hostile answers", "process", PEERS, LIES, 15),
    Scenario("answers beyond what was sent", "async", PEERS, BEYOND, 8),
    Scenario("answers beyond what was sent", "process", PEERS, BEYOND, 8),
    Scenario("replicas out and back", "process", PEERS, OUT, 10, origin=NAMED),
    Scenario("replicas out and back", "disk", PEERS, OUT, 8, origin=NAMED),
    Scenario("synced anew by the page", "async", PEERS, BACK, 8),
    Scenario("synced anew by the page", "process", PEERS, BACK, 8),
    Scenario("children without atexit", "async", PEERS, CHILDREN, 12),
    Scenario("children without atexit", "process", PEERS, CHILDREN, 12),
    Scenario("signals that raise", "async", PEERS, SIGNALS, 15),
    Scenario("signals that raise", "disk", PEERS, SIGNALS, 15),
    Scenario("journal's disk full", "async", PEERS, FULL, 8),
    Scenario("journal's disk full", "disk", PEERS, FULL, 8),
    Scenario("clock moved", "process", BOTH, CLOCK, 15),
    Scenario("everything", "async", BOTH, ALL, 20),
    Scenario("everything", "process", BOTH, ALL, 20),
    Scenario("everything", "disk", BOTH, ALL, 20),
    Episodes("dead letters replayed", "async", episodes.letters_replayed, 8),
    Episodes("dead letters replayed", "disk", episodes.letters_replayed, 4),
    Episodes("journal damaged", "process", episodes.damaged, 40),
    Episodes(
        "killed with a full disk",
        "process",
        episodes.killed_with_full_disk,
        8,
        needs=frozenset({"disk"}),
    ),
)

SHORT: tuple[AnyScenario, ...] = (
    Scenario("the app killed", "async", PEERS, KILLS, 3),
    Scenario("both killed at once", "process", PEERS, BOTH_KILLED, 2),
    Scenario("the app killed, a replica down", "disk", PEERS, DOWN, 2),
    Scenario("stopped", "process", PEERS, STOPS, 3),
    Scenario("network cut", "async", PEERS, CUTS, 2),
    Scenario("hostile answers", "process", PEERS, LIES, 1),
    Scenario("answers beyond what was sent", "process", PEERS, BEYOND, 2),
    Scenario("replicas out and back", "process", PEERS, OUT, 3, origin=NAMED),
    Scenario("synced anew by the page", "process", PEERS, BACK, 2),
    Scenario("children without atexit", "async", PEERS, CHILDREN, 4),
    Scenario("signals that raise", "process", PEERS, SIGNALS, 1),
    Scenario("journal's disk full", "process", PEERS, FULL, 2),
    Scenario("clock moved", "process", PEERS, CLOCK, 3),
    Episodes("dead letters replayed", "async", episodes.letters_replayed, 1),
)


def missing(scenario: AnyScenario, folder: Path) -> str | None:
    """What this machine lacks for a scenario."""
    if "disk" in scenario.needs and not disk.available(folder):
        return "only root may mount a small disk to fill"
    if "clock" in scenario.needs and clock.library() is None:
        return f"{clock.LIBRARY} is not installed (apt install faketime)"
    if "workerd" in scenario.replicas:
        return workerd.why_not()
    return None
