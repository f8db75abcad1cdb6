"""The scenarios: which actions, at which durability, with which replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.actions import NEEDS, Action
from chaos.check import Evidence, Findings, check
from chaos.world import World, world

PEERS = ("peer", "peer")
BOTH = ("peer", "workerd")


@dataclass(frozen=True)
class Scenario:
    """`actions` with their weights, until `rounds` of them are done."""

    name: str
    durability: str
    replicas: tuple[str, ...]
    actions: Mapping[Action, int]
    rounds: int = 10


@dataclass(frozen=True)
class Result:
    """What was done in a scenario and what the checker found."""

    scenario: Scenario
    seed: int
    done: Mapping[str, int]
    findings: Findings


def run(scenario: Scenario, folder: Path, seed: int) -> Result:
    """Run a scenario in a new folder, then drain and check."""
    needs = {NEEDS[action] for action in scenario.actions if action in NEEDS}
    with world(folder, scenario.replicas, scenario.durability, seed, needs) as built:
        built.start_app()
        for _ in range(scenario.rounds):
            chosen = built.chance.choices([*scenario.actions], [*scenario.actions.values()])
            chosen[0](built)
        built.let_run(0.1, 0.5)
        built.kill_app()
        findings = finish(built)
        built.count_cuts()
        return Result(scenario, seed, built.done, findings)


def finish(built: World) -> Findings:
    """A clean process delivers the rest; then everything is compared."""
    drained = built.drain()
    evidence = Evidence.gather(built.folder, built.durability, drained)
    findings = check(evidence, built.replicas)
    if not (drained.flushed and drained.closed):
        findings.add("unsettled", f"the clean process could not deliver everything: {drained}")
    left = sorted(path.name for path in built.journal.iterdir())
    if left:
        findings.add("unsettled", f"the journal is not empty: {left}")
    return findings
