"""What is longer than a replica takes in one text arrives, or is told and not half applied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery import Replicator
from replication.world import (
    Primary,
    assert_same,
    connect,
    fulfilled,
    of,
    prepare,
    rejected,
    settled,
)
from support import workerd
from support.peer import PeerProcess
from support.process import ReplicaProcess

pytestmark = pytest.mark.workerd

SCHEMA = """
    DROP TABLE IF EXISTS child; DROP TABLE IF EXISTS parent; DROP TABLE IF EXISTS tree;
    DROP TABLE IF EXISTS note; DROP TABLE IF EXISTS log;
    CREATE TABLE note (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT, n NUMERIC, raw);
    CREATE TABLE log (at INTEGER PRIMARY KEY, id, what);
    CREATE TRIGGER noted AFTER INSERT ON note BEGIN
        INSERT INTO log (id, what) VALUES (new.id, substr(new.body, 1, 9)); END;
    CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE child (id INTEGER PRIMARY KEY, note TEXT,
        parent INTEGER NOT NULL REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree (id), name TEXT);
"""
Database = afterquery.sqlite3.Connection


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ReplicaProcess]]:
    workerd.require()
    folder = tmp_path_factory.mktemp("replicas")
    narrow = PeerProcess(folder / "narrow", like_starbasedb=True)
    narrow.name = "narrow"
    processes = [PeerProcess(folder / "peer"), narrow, workerd.WorkerdProcess(folder / "workerd")]
    with ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
        yield list(processes)


@pytest.fixture
def engines(running: list[ReplicaProcess]) -> list[ReplicaProcess]:
    prepare(SCHEMA, *running)
    return running


def _database(path: Path, replicator: Replicator) -> Any:
    with Primary(path, SCHEMA):
        pass
    database = afterquery.sqlite3.connect(path, replicator=replicator, isolation_level=None)
    database.execute("PRAGMA foreign_keys = ON")
    return closing(database)


def _rows(count: int, *values: str) -> str:
    return ", ".join(["(" + ", ".join(values) + ")"] * count)


def _bulk(database: Database, rows: int, size: int, cells: str = "?, ?") -> None:
    values = [value for n in range(rows) for value in (f"{n}-é'\\\"".ljust(size, "x"), n / 7)]
    database.execute(f"INSERT INTO note (body, n) VALUES {_rows(rows, cells)}", values)


def _insert(database: Database) -> None:
    _bulk(database, 3_000, 40)


def _insert_of_wide_rows(database: Database) -> None:
    _bulk(database, 30, 40_000)


def _insert_that_json_does_not_say(database: Database) -> None:
    values = [value for n in range(900) for value in ("b" * 100, bytes([n % 256]) * 30)]
    database.execute(f"INSERT INTO note (body, raw) VALUES {_rows(900, '?', '?')}", values)


def _upsert(database: Database) -> None:
    _bulk(database, 50, 10)
    rows = ", ".join(f"({n % 80}, '{n}', 0x{n:x})" for n in range(7_000))
    database.execute(
        f"INSERT INTO note (id, body, n) VALUES {rows}"
        " ON CONFLICT (id) DO UPDATE SET body = excluded.body, n = n + excluded.n"
    )


def _list(database: Database) -> None:
    _bulk(database, 900, 300)
    names = [f"{n}-é'\\\"".ljust(300, "x") for n in range(0, 1_200, 3)]
    database.execute(
        f"DELETE FROM note WHERE body IN ({', '.join('?' * len(names))}) OR id IN"
        f" ({', '.join(str(n) for n in range(600, 20_000))})",
        names,
    )


def _cases(database: Database) -> None:
    _bulk(database, 200, 10)
    cases = " ".join(["WHEN id = ? THEN ?"] * 150)
    values = [value for n in range(150) for value in (n, f"{n}" * 300)]
    database.execute(f"UPDATE note SET body = CASE {cases} ELSE body END", values)


def _values_in_the_text(database: Database) -> None:
    database.execute(f"INSERT INTO note (body, raw) VALUES ('{'ä' * 100_000}', x'{'0f' * 90_000}')")
    database.execute(f"UPDATE note SET body = '{'u' * 120_000}' || body WHERE body <> 'it''s'")


def _json(database: Database) -> None:
    data = json.dumps([f"{n}".ljust(900, "j") for n in range(1_000)])
    database.execute("INSERT INTO note (body) SELECT value FROM json_each(?) ORDER BY key", (data,))


def _deferred_keys(database: Database) -> None:
    with database:
        database.execute("BEGIN")
        for n in range(2_000):
            database.execute("INSERT INTO child VALUES (?, ?, ?)", (n, "c" * 60, n))
        for n in range(2_000):
            database.execute("INSERT INTO parent VALUES (?, ?)", (n, f"p{n}"))
        database.execute("UPDATE parent SET name = name || '!' WHERE id % 2 = 0")


def _children_before_parents(database: Database) -> None:
    rows = ", ".join(f"({n}, {n + 1 if n < 4_999 else 'NULL'}, 'name {n}')" for n in range(5_000))
    database.execute(f"INSERT INTO tree VALUES {rows}")


@pytest.mark.parametrize(
    "work",
    [
        _insert,
        _insert_of_wide_rows,
        _insert_that_json_does_not_say,
        _upsert,
        _list,
        _cases,
        _values_in_the_text,
        _json,
        _deferred_keys,
        _children_before_parents,
    ],
)
def test_it_arrives(
    work: Callable[[Database], None], engines: list[ReplicaProcess], tmp_path: Path
) -> None:
    path = tmp_path / "primary.db"
    with connect(*engines) as replicator, _database(path, replicator) as database:
        work(database)
        fulfilled(database.replication)
        with Primary(path) as primary:
            assert_same(primary, *engines)
        for process in engines:
            assert process.client().value("SELECT count(*) FROM tmp_afterquery_value") == 0


def test_a_peer_gets_it_as_one_text(engines: list[ReplicaProcess], tmp_path: Path) -> None:
    peer = engines[0]
    with connect(peer) as replicator, _database(tmp_path / "p.db", replicator) as database:
        database.execute("INSERT INTO note (body) VALUES ('first')")
        fulfilled(database.replication)
        before = of(replicator, peer.name).requests
        _insert_of_wide_rows(database)
        fulfilled(database.replication)
        assert of(replicator, peer.name).requests == before + 1


def test_what_cannot_be_sent_is_told_with_the_limit(
    engines: list[ReplicaProcess], tmp_path: Path
) -> None:
    narrow = engines[1:]
    long = f"UPDATE note SET n = 1 WHERE n IN ({'0.5, ' * 30_000}0)"
    with connect(*narrow) as replicator, _database(tmp_path / "p.db", replicator) as database:
        with database:
            database.execute("BEGIN")
            database.execute("INSERT INTO note (body) VALUES ('with it')")
            database.execute(long)
        for reason in rejected(database.replication).values():
            assert reason.startswith("too_large: statement 2 of the write has ")
            assert "100000" in reason
        database.execute("INSERT INTO note (body) VALUES ('after it')")
        fulfilled(database.replication)
    for process in narrow:
        # Nothing of the transaction is there.
        assert process.client().rows("SELECT body FROM note") == [("after it",)]


def test_a_letter_shows_a_large_value_and_can_be_replayed(
    engines: list[ReplicaProcess], tmp_path: Path
) -> None:
    with connect(*engines) as replicator, _database(tmp_path / "p.db", replicator) as database:
        prepare("INSERT INTO note (id, body) VALUES (1, 'in the way')", *engines)
        value = "it's large " * 9_000
        database.execute("INSERT INTO note (id, body) VALUES (1, ?)", (value,))
        settled(database.replication)
        letters = replicator.dead_letters()
        assert len(letters) == len(engines)
        for letter in letters:
            assert value.replace("'", "''") in letter.statements[0]
        prepare("DELETE FROM note", *engines)
        for replayed in replicator.replay(letters):
            fulfilled(replayed)
        for process in engines:
            assert process.client().value("SELECT length(body) FROM note") == len(value)
            assert process.client().value("SELECT count(*) FROM tmp_afterquery_value") == 0
