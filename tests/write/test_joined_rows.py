"""INSERTs that differ in their row alone are sent as one; nobody can tell, on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from afterquery import Replicator
from replication.world import TIMEOUT, both_engines, connect, of, prepare
from support.process import ReplicaProcess

pytestmark = pytest.mark.workerd

SCHEMA = """
    CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, n);
    CREATE TABLE log (at INTEGER PRIMARY KEY AUTOINCREMENT, text);
    CREATE TRIGGER items_log AFTER INSERT ON items BEGIN
        INSERT INTO log (text) VALUES (new.name || (SELECT count(*) FROM items)); END;
    CREATE TRIGGER items_skip BEFORE INSERT ON items WHEN new.name = 'skip' BEGIN
        SELECT RAISE(IGNORE); END;
"""
INSERT = "INSERT INTO items (id, name, n) VALUES (?, ?, ?)"
WRITES = 400


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ReplicaProcess]]:
    with both_engines(tmp_path_factory.mktemp("replicas")) as processes:
        yield processes


@pytest.fixture
def engines(running: list[ReplicaProcess]) -> list[ReplicaProcess]:
    drop = "DROP TABLE IF EXISTS items; DROP TABLE IF EXISTS log; DROP TABLE IF EXISTS other;"
    prepare(drop + SCHEMA, *running)
    return running


def _insert(replicator: Replicator, names: list[str | None]) -> None:
    """All of them before a second request can be sent, so that most go together."""
    for n, name in enumerate(names):
        replicator.after_query(INSERT, (n, name, -1.5 * n), 1)
    assert replicator.flush(TIMEOUT)


def _ids(process: ReplicaProcess) -> list[int]:
    return [n for (n,) in process.client().rows("SELECT id FROM items ORDER BY id")]


def _requests(replicator: Replicator, process: ReplicaProcess) -> int:
    return of(replicator, process.name).requests


def test_rows_are_inserted_one_after_another(engines: list[ReplicaProcess]) -> None:
    names: list[str | None] = ["it's", "a;b", "ünï", "x'00'"] * (WRITES // 4)
    with connect(*engines) as replicator:
        _insert(replicator, names)
        for process in engines:
            assert of(replicator, process.name).changes_differ == 0
            assert _requests(replicator, process) < WRITES / 10
    for process in engines:
        # The trigger saw each row come.
        expected = [(f"{name}{n + 1}",) for n, name in enumerate(names)]
        assert process.client().rows("SELECT text FROM log ORDER BY at") == expected


def test_the_row_that_fails_is_the_only_one(engines: list[ReplicaProcess], tmp_path: Path) -> None:
    names: list[str | None] = ["good"] * WRITES
    names[17] = names[218] = names[219] = None
    with connect(*engines, journal=tmp_path / "journal") as replicator:
        _insert(replicator, names)
        letters = replicator.dead_letters()
        assert sorted({letter.seq - 1 for letter in letters}) == [17, 218, 219]
        assert all("NOT NULL constraint failed: items.name" in x.reason for x in letters)
        assert len(letters) == 6
        for process in engines:
            assert _ids(process) == [n for n in range(WRITES) if names[n] is not None]
        replicator.discard()


def test_rows_that_are_not_there_are_counted(engines: list[ReplicaProcess]) -> None:
    names: list[str | None] = ["good"] * WRITES
    names[30:35] = ["skip"] * 5
    with connect(*engines) as replicator:
        _insert(replicator, names)
        for process in engines:
            stats = of(replicator, process.name)
            assert (stats.changes_differ, stats.diverged) == (5, True)
            assert stats.fulfilled == WRITES
            assert len(_ids(process)) == WRITES - 5


def test_a_constraint_that_fails_halfway(engines: list[ReplicaProcess]) -> None:
    """`ON CONFLICT FAIL` would leave the rows before the one that fails."""
    prepare("CREATE TABLE other (a UNIQUE ON CONFLICT FAIL)", *engines)
    with connect(*engines) as replicator:
        values = [n if n % 50 else 1 for n in range(1, WRITES)]
        for value in values:
            replicator.after_query("INSERT INTO other VALUES (?)", (value,), 1)
        assert replicator.flush(TIMEOUT)
        good = [n for n in values if n != 1 or n == values[0]]
        for process in engines:
            rows = process.client().rows("SELECT a FROM other ORDER BY rowid")
            assert [a for (a,) in rows] == list(dict.fromkeys(good))
            assert of(replicator, process.name).rejected == len(values) - len(rows)
        replicator.discard()


def test_one_transaction_of_many_rows(engines: list[ReplicaProcess]) -> None:
    rows = [(n, "many", None) for n in range(3_000)]
    with connect(*engines) as replicator:
        handle = replicator.after_query(INSERT, rows, len(rows), many=True)
        assert handle is not None
        outcomes = handle.wait(TIMEOUT)
        assert [outcome.changes for outcome in outcomes] == [3_000, 3_000]
        with suppress(ZeroDivisionError), replicator.transaction() as transaction:
            transaction.after_query(INSERT, (9_999, "gone", None), 1)
            raise ZeroDivisionError
        for process in engines:
            assert _ids(process) == list(range(3_000))
            assert _requests(replicator, process) <= 4
