"""The short form of the chaos suite, and proof that its checker sees what it is there to see."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from chaos import episodes, page, told
from chaos.check import Read, check, late, reader
from chaos.damage import DAMAGES
from chaos.evidence import Copy, Evidence
from chaos.findings import Findings
from chaos.scenarios import LONG, PEERS, SHORT, AnyScenario, missing
from chaos.soak import soak
from chaos.told import Handed
from chaos.world import TOLD, world
from replication.world import until

SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.label)
def test_nothing_is_lost_doubled_or_out_of_order(scenario: AnyScenario, tmp_path: Path) -> None:
    lacking = missing(scenario, tmp_path)
    if lacking is not None:
        pytest.skip(lacking)
    print(f"CHAOS_SEED={SEED}")
    findings = scenario.run(tmp_path / "world", SEED).findings
    assert not findings.wrong, "\n".join(findings.examples)
    assert findings.committed > 0


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(DAMAGES)), ids=[one.__name__ for one in DAMAGES])
def test_what_a_damaged_journal_loses_is_told(number: int, tmp_path: Path) -> None:
    _, findings = episodes.damaged(tmp_path / "world", "process", SEED, number)
    assert not findings.wrong, "\n".join(findings.examples)


def test_every_label_is_there_once_so_that_a_failure_can_be_run_again() -> None:
    labels = [scenario.label for scenario in LONG]
    assert len(set(labels)) == len(labels)


@pytest.mark.slow
def test_a_soak_in_small(tmp_path: Path) -> None:
    story = soak(tmp_path, writes=30_000, rate=10_000, seed=SEED)
    # Too short for the memory to have found its level.
    assert [line for line in story.wrong if line != "the memory grows"] == []
    assert story.samples[-1].written == 30_000


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, dict[str, Path]]:
    """A world in which all went well, with copies of its replicas."""
    folder = tmp_path_factory.mktemp("chaos") / "world"
    with world(folder, PEERS, "process", SEED) as built:
        built.start_app()
        until(lambda: len(list(told.read(folder / TOLD))) > 1_500, "enough is written")
        built.kill_app()
        evidence = Evidence.gather(folder, "process", built.drain())
        return evidence, {replica.name: replica.folder / "copy.db" for replica in built.replicas}


def _writes(evidence: Evidence, copy: sqlite3.Connection) -> dict[str, int]:
    """An early write and the last, of those that the application had time to tell of, and that
    arrived whole: of a rejected one a part may be there."""
    order = [k for (k,) in copy.execute("SELECT k FROM trace ORDER BY n")]
    handed = [k for k in order if k in evidence.handed]
    good = [k for k in handed if not evidence.committed[k].is_rejected]
    return {"early": good[4], "last": good[-1]}


def judge(evidence: Evidence, files: dict[str, Path], change: str = "") -> Findings:
    """What the checker says after `change` was made to the first replica."""
    with ExitStack() as stack:
        readers: dict[str, Read] = {}
        for name, file in files.items():
            copy = stack.enter_context(closing(sqlite3.connect(":memory:")))
            with closing(sqlite3.connect(file)) as connection:
                connection.backup(copy)
            copy.executescript("" if readers else change.format(**_writes(evidence, copy)))
            readers[name] = reader(copy)
        return check(evidence, readers)


def test_the_checker_is_content_with_what_is_right(
    ended: tuple[Evidence, dict[str, Path]],
) -> None:
    findings = judge(*ended)
    assert (findings.wrong, findings.unsaved) == ({}, 0), findings.examples
    assert any(spec.is_rejected for spec in ended[0].committed.values())


LONG_ONE = "(SELECT k FROM trace WHERE step = 3 LIMIT 1)"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("DELETE FROM trace WHERE k = {early}", "lost"),
        ("DELETE FROM trace WHERE k = {last}", "lost"),
        ("DELETE FROM trace WHERE k = " + LONG_ONE + " AND step = 2", "lost"),
        ("INSERT INTO trace (k, step) SELECT k, step FROM trace WHERE k = {early}", "doubled"),
        ("INSERT INTO trace (k, step) VALUES (1000000, 0)", "doubled"),
        ("UPDATE trace SET n = n + 1000000 WHERE k = {early}", "misplaced"),
        (
            "UPDATE trace SET step = 5 - step WHERE k = " + LONG_ONE + " AND step IN (2, 3)",
            "misplaced",
        ),
        ("DROP TRIGGER counted; UPDATE lane SET n = n + 1", "rows"),
        ("UPDATE log SET v = 'other' WHERE n = 7", "rows"),
        ("DELETE FROM log WHERE n = 7", "rows"),
        ("UPDATE log SET n = -n WHERE n = 7", "copies"),
    ],
)
def test_the_checker_sees_what_is_wrong_on_a_replica(
    ended: tuple[Evidence, dict[str, Path]], change: str, kind: str
) -> None:
    assert kind in judge(*ended, change).wrong


def test_the_checker_sees_what_the_app_was_told_falsely(
    ended: tuple[Evidence, dict[str, Path]],
) -> None:
    evidence, files = ended
    letter = next(iter(evidence.letters))
    taken = replace(evidence, letters=evidence.letters - {letter})
    assert "lost" in judge(taken, files).wrong
    first = evidence.handed[1]
    added = replace(evidence, letters=evidence.letters | {("peer-0", first.origin, first.seq)})
    assert "outcome" in judge(added, files).wrong
    known = evidence.known[0]
    turned = replace(known, status="rejected" if known.status == "fulfilled" else "fulfilled")
    assert "outcome" in judge(replace(evidence, known=[turned]), files).wrong
    told_of_nothing = f"DELETE FROM trace WHERE k = {known.k}"
    assert "outcome" in judge(evidence, files, told_of_nothing).wrong


def test_the_checker_sees_what_runs_once_more_after_a_copy(
    ended: tuple[Evidence, dict[str, Path]],
) -> None:
    """What is in the copy must neither run on it nor be a dead letter that is left."""
    evidence, files = ended
    last = max(evidence.committed)
    copied = replace(evidence, copies={"peer-0": Copy(last, evidence.primary)})
    again = judge(copied, files, "DELETE FROM trace WHERE k <> {early}")
    assert any("is in the copy, and ran" in line for line in again.examples)
    left = judge(copied, files, "DELETE FROM trace")
    assert any("a dead letter of it is left" in line for line in left.examples)


def test_each_step_of_the_page_is_known() -> None:
    """One that nobody here knows is not passed over, and the code is the page's own."""
    found = page.steps()
    assert len(found) == 3
    assert "os.replace" in page.code(found[1])
    with pytest.raises(AssertionError, match="no link"):
        page.code(found[0])


def test_what_was_at_risk_may_be_lost_but_only_from_the_end(
    ended: tuple[Evidence, dict[str, Path]],
) -> None:
    evidence, files = ended
    risky = replace(evidence, promised=Counter(), known=[])
    end = judge(
        risky,
        files,
        "DELETE FROM trace WHERE n >= (SELECT min(n) FROM trace WHERE k = {last})",
    )
    assert "lost" not in end.wrong
    assert end.unsaved == 1
    assert "lost" in judge(risky, files, "DELETE FROM trace WHERE k = {early}").wrong


def test_a_journal_that_stands_still_is_noticed() -> None:
    def lines(unsaved: int, problem: bool = False) -> list[Handed]:
        return [Handed(n, "a", n, min(n, unsaved), problem, n / 100) for n in range(1, 100)]

    assert not list(late(lines(3)))
    assert not list(late(lines(1_000, problem=True)))
    assert list(late(lines(1_000)))
