"""Episodes after which something may be missing, but never without a word.

An application dies with writes that a replica lacks, and its journal suffers. What a replica has
must be right as far as it goes; what it lacks must have been told: an error that names the journal,
or a replica that counts as diverged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos import disk
from chaos.check import Evidence, Findings, check
from chaos.damage import Damage
from chaos.drain import Drained
from chaos.world import Need, World, world

FORGIVEN = ("lost", "unequal between replicas")


def damaged(folder: Path, durability: str, seed: int, damage: Damage) -> Findings:
    """One replica is down, the application dies, and its journal is damaged before the next."""
    with _world(folder, durability, seed) as built:
        built.start_app()
        built.let_run(0.1, 0.4)
        behind = built.chance.choice(built.replicas)
        built.kill_replica(behind)
        built.let_run(0.1, 0.4)
        built.kill_app()
        (journal,) = built.journal.glob("*.journal")
        damage(journal, built.chance)
        behind.start()
        return _judge(built, journal)


def killed_with_full_disk(folder: Path, durability: str, seed: int) -> Findings:
    """The application dies while its journal's disk is full."""
    with _world(folder, durability, seed, "disk") as built:
        built.start_app()
        built.let_run(0.1, 0.4)
        disk.fill(built.journal)
        built.let_run(0.1, 1.5)
        built.kill_app()
        disk.empty(built.journal)
        (journal,) = built.journal.glob("*.journal")
        return _judge(built, journal)


@contextmanager
def _world(folder: Path, durability: str, seed: int, *needs: Need) -> Iterator[World]:
    with world(folder, ("peer", "peer"), durability, seed, needs) as built:
        yield built


def _judge(built: World, journal: Path) -> Findings:
    before = len(built.log.read_text())
    drained = built.drain()
    findings = check(Evidence.gather(built.folder, built.durability, drained), built.replicas)
    if told(built.log.read_text()[before:], journal, drained):
        forgive(findings)
    return findings


def told(log: str, journal: Path, drained: Drained) -> bool:
    """Whether the user has been told that something is wrong."""
    errors = [line for line in log.splitlines() if line.startswith("ERROR")]
    return "diverged" in drained.states.values() or any(journal.name in line for line in errors)


def forgive(findings: Findings) -> None:
    """What is missing counts as told."""
    for kind in FORGIVEN:
        findings.told += findings.wrong.pop(kind, 0)
    findings.examples = [line for line in findings.examples if not line.startswith(FORGIVEN)]


Episode = Callable[[Path, str, int], Findings]
