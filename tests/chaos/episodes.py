"""Episodes after which something may be missing, but never without a word.

An application dies with writes that a replica lacks, and its journal suffers. What a replica has
must be right as far as it goes; what it lacks must have been told: an error that names the journal,
or a replica that counts as diverged.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

from chaos import replay
from chaos.check import check
from chaos.damage import DAMAGES
from chaos.drain import Drained
from chaos.evidence import Evidence
from chaos.findings import Findings, Wrong
from chaos.process import AppProcess
from chaos.world import World, world

LETTERS = 200

FORGIVEN: tuple[Wrong, ...] = ("lost", "copies")
PEERS = ("peer", "peer")


def damaged(folder: Path, durability: str, seed: int, number: int) -> tuple[World, Findings]:
    """One replica is down, the application dies, and its journal is damaged before the next."""
    damage = DAMAGES[number % len(DAMAGES)]
    with world(folder, PEERS, durability, seed) as built:
        built.start_app()
        built.let_run(0.05, 0.3)
        behind = built.chance.choice(built.replicas)
        built.kill_replica(behind)
        built.let_run(0.05, 0.3)
        built.kill_app()
        (journal,) = built.journal.glob("*.journal")
        damage(journal, built.chance)
        built.done["damaged"] += 1
        behind.start()
        return built, _judge(built, journal)


def killed_with_full_disk(
    folder: Path, durability: str, seed: int, _: int
) -> tuple[World, Findings]:
    """The application dies while its journal's disk is full."""
    with world(folder, PEERS, durability, seed, needs=["disk"]) as built:
        built.start_app()
        built.let_run(0.1, 0.4)
        built.fill_disk()
        built.let_run(0.1, 1.5)
        built.kill_app()
        built.empty_disk()
        (journal,) = built.journal.glob("*.journal")
        return built, _judge(built, journal)


def letters_replayed(folder: Path, durability: str, seed: int, _: int) -> tuple[World, Findings]:
    """Dead letters are replayed by a process that is killed again and again."""
    with world(folder, PEERS, durability, seed) as built:
        _replay(built, LETTERS).wait()
        for replica in built.replicas:
            replica.client().run(replay.SCHEMA)
        for _ in range(built.chance.randint(2, 5)):
            process = _replay(built, 0)
            built.let_run(0.0, 0.1)
            # Now and then it has replayed all there is before.
            built.done["kills"] += process.end() == -signal.SIGKILL
        _replay(built, 0).wait()
        findings = Findings(LETTERS)
        for replica in built.replicas:
            found = [k for (k,) in replica.client().rows("SELECT k FROM later ORDER BY n")]
            _compare(found, replica.name, findings)
        if list(built.journal.iterdir()):
            findings.add("unsettled", "the journal is not empty")
        return built, findings


def _replay(built: World, letters: int) -> AppProcess:
    built.runs += 1
    process = AppProcess(
        built.settings(), built.log, built.environment, "chaos.replay", str(letters)
    )
    process.wait_ready()
    return process


def _compare(found: list[int], name: str, findings: Findings) -> None:
    for k, count in (Counter(range(LETTERS)) | Counter(found)).items():
        if count > 1:
            findings.add("doubled", f"{name}: letter {k} was applied {count} times")
        elif k not in found:
            findings.add("lost", f"{name}: letter {k}")
    if found != sorted(found):
        findings.add("misplaced", f"{name}: {found}")


def _judge(built: World, journal: Path) -> Findings:
    before = len(built.log.read_text())
    drained = built.drain()
    findings = check(Evidence.gather(built.folder, built.durability, drained), built.readers())
    if _told(built.log.read_text()[before:], journal, drained):
        _forgive(findings)
    return findings


def _told(log: str, journal: Path, drained: Drained) -> bool:
    """Whether the user has been told that something is wrong."""
    errors = [line for line in log.splitlines() if line.startswith("ERROR")]
    return "diverged" in drained.states.values() or any(journal.name in line for line in errors)


def _forgive(findings: Findings) -> None:
    """What is missing counts as told."""
    for kind in FORGIVEN:
        findings.told += findings.wrong.pop(kind, 0)
    findings.examples = [line for line in findings.examples if not line.startswith(FORGIVEN)]
