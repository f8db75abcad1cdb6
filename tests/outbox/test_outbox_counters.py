"""With an outbox, SQLite's counters are those of the user's own statements: random sequences,
beside the bare library."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

import afterquery.aiosqlite
import afterquery.sqlite3
from afterquery._failures import failures
from afterquery.outbox import pending
from afterquery.sqlalchemy import attach
from support.interruptions import Interrupted, Interruption, sweep

SEEN = "SELECT last_insert_rowid(), changes()"
TOTAL = "INSERT INTO log (n) VALUES (total_changes())"
SCHEMA = [
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v UNIQUE, n)",
    "CREATE TABLE log (id INTEGER PRIMARY KEY, n)",
    # What a trigger asks is asked of SQLite.
    "CREATE TABLE deep (n)",
    "CREATE TRIGGER asks BEFORE DELETE ON log BEGIN INSERT INTO deep VALUES (changes()); END",
]
CHANGES: list[Callable[[random.Random], str]] = [
    lambda r: f"INSERT INTO t (v, n) VALUES ({r.randrange(40)}, 0)",
    lambda r: f"INSERT OR IGNORE INTO t (v) VALUES ({r.randrange(9)}), ({r.randrange(9)})",
    lambda r: f"INSERT OR REPLACE INTO t (v) VALUES ({r.randrange(9)})",
    lambda _: "INSERT INTO t (v) SELECT v + 1000 FROM t WHERE v < 5 ON CONFLICT DO NOTHING",
    lambda r: f"UPDATE t SET n = n + 1 WHERE id > {r.randrange(12)}",
    lambda _: "UPDATE t SET n = 0 WHERE id < 0",
    lambda r: f"DELETE FROM t WHERE id = {r.randrange(12)}",
    lambda r: f"DELETE FROM log WHERE id = {r.randrange(6)}",
    lambda _: "INSERT INTO log (n) VALUES (changes())",
    lambda _: "INSERT INTO log (n) VALUES (last_insert_rowid())",
    lambda _: "CREATE TABLE IF NOT EXISTS later (x)",
    lambda _: "DROP TABLE IF EXISTS later",
    lambda _: "INSERT INTO missing VALUES (1)",
]
MOVES = ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s"]
MANY = "INSERT OR IGNORE INTO t (v, n) VALUES (?, 1)"
TABLES = ("t", "log", "deep")
MODES: list[dict[str, Any]] = [
    {},
    {"isolation_level": None},
    {"isolation_level": "IMMEDIATE"},
]
if sys.version_info >= (3, 12):
    MODES += [{"autocommit": False}, {"autocommit": True}]


def steps(seed: int, count: int = 60) -> list[tuple[str, str]]:
    """What is done, and with which text."""
    chosen = random.Random(seed)
    found = [("execute", sql) for sql in SCHEMA] + [("commit", "")]
    kinds = ["execute"] * 12 + ["move"] * 6 + ["many", "script", "commit", "commit", "rollback"]
    for _ in range(count):
        kind = chosen.choice(kinds)
        change = chosen.choice(CHANGES)(chosen)
        if kind == "move":
            kind, change = "execute", chosen.choice(MOVES)
        elif kind == "script":
            change += "; " + chosen.choice(CHANGES)(chosen)
        elif kind == "many":
            change = str(chosen.randrange(5))
        found.append((kind, change))
    return [*found, ("commit", ""), ("execute", "INSERT INTO log (n) VALUES (changes())")]


def rows(count: str) -> list[tuple[int]]:
    return [(number * 7,) for number in range(int(count))]


def by_sqlite3(db: sqlite3.Connection, seed: int) -> list[Any]:
    """What a connection shows on the way."""
    seen = list[Any]()
    cursor = db.cursor()
    for kind, text in steps(seed):
        found: Any = None
        try:
            if kind == "execute":
                cursor = db.execute(text)
                found = (cursor.lastrowid, cursor.rowcount)
            elif kind == "many":
                found = db.executemany(MANY, rows(text)).rowcount
            elif kind == "script":
                db.executescript(text)
            else:
                getattr(db, kind)()
        except sqlite3.Error as error:
            found = repr(error)
        # A new one: what is asked of an old one, ends its statement.
        seen.append((kind, text, found, sqlite3.Cursor(db).execute(SEEN).fetchone()))
        seen.append((db.total_changes, cursor.lastrowid, db.in_transaction))
    db.execute(TOTAL)
    seen += [db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]
    return seen


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_sqlite3(mode: dict[str, Any]) -> None:
    failures.forget()
    for seed in range(40):
        with closing(sqlite3.connect(":memory:", **mode)) as bare:
            expected = by_sqlite3(bare, seed)
        with closing(afterquery.sqlite3.connect(":memory:", outbox=True, **mode)) as db:
            assert by_sqlite3(db, seed) == expected, seed
            assert pending(db)
    assert not failures.counts()


async def by_aiosqlite(opened: aiosqlite.Connection, seed: int) -> list[Any]:
    seen = list[Any]()
    async with opened as db:
        for kind, text in steps(seed):
            found: Any = None
            try:
                if kind == "execute":
                    cursor = await db.execute(text)
                    found = (cursor.lastrowid, cursor.rowcount)
                elif kind == "many":
                    found = (await db.executemany(MANY, rows(text))).rowcount
                elif kind == "script":
                    await db.executescript(text)
                else:
                    await getattr(db, kind)()
            except sqlite3.Error as error:
                found = repr(error)
            asked = await (await db.execute(SEEN)).fetchone()
            seen.append((kind, text, found, asked, db.total_changes))
        await db.execute(TOTAL)
        for table in TABLES:
            seen.append(await (await db.execute(f"SELECT * FROM {table}")).fetchall())
    return seen


@pytest.mark.parametrize("level", [None, ""])
def test_aiosqlite(level: str | None) -> None:
    async def run() -> None:
        for seed in range(8):
            expected = await by_aiosqlite(
                aiosqlite.connect(":memory:", isolation_level=level), seed
            )
            settings: dict[str, Any] = {"outbox": True, "isolation_level": level}
            db = afterquery.aiosqlite.connect(":memory:", **settings)
            assert await by_aiosqlite(db, seed) == expected, seed

    asyncio.run(run())


def by_sqlalchemy(connection: Connection, seed: int) -> list[Any]:
    seen = list[Any]()
    for kind, text in steps(seed):
        found: Any = None
        try:
            if kind == "execute":
                result = connection.exec_driver_sql(text)
                found = (result.rowcount, result.lastrowid)
            elif kind == "many" and text != "0":
                found = connection.exec_driver_sql(MANY, rows(text)).rowcount
            elif kind in {"commit", "rollback"}:
                getattr(connection, kind)()
        except Exception as error:
            found = repr(error)
            connection.rollback()
        asked = connection.exec_driver_sql(SEEN).one()
        seen.append((kind, text, found, tuple(asked)))
    return [*seen, *(connection.exec_driver_sql(f"SELECT * FROM {t}").all() for t in TABLES)]


@pytest.mark.parametrize("autocommit", [False, True])
def test_sqlalchemy(autocommit: bool) -> None:
    level: Any = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    for seed in range(10):
        shown = list[Any]()
        for outbox in (False, True):
            engine = create_engine("sqlite://", poolclass=StaticPool, **level)
            attached = attach(engine, outbox=True) if outbox else None
            with engine.connect() as connection:
                shown.append(by_sqlalchemy(connection, seed))
            assert attached is None or attached.errors == 0
            engine.dispose()
        assert shown[1] == shown[0], seed


def test_many_rows() -> None:
    """As many as are changed by one statement of a batch job."""
    shown = list[Any]()
    for connect in (sqlite3.connect, partial(afterquery.sqlite3.connect, outbox=True)):
        with closing(connect(":memory:", isolation_level=None)) as db:
            db.execute("CREATE TABLE t (n)")
            db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(70_000)])
            for sql in ("UPDATE t SET n = 1", "DELETE FROM t WHERE rowid > 2"):
                db.execute(sql)
                shown.append((*db.execute(SEEN).fetchone(), db.total_changes))
    assert shown[:2] == shown[2:]


def _interrupted(interruption: Interruption) -> None:
    """What was interrupted in the middle is not counted either."""
    with closing(afterquery.sqlite3.connect(":memory:", outbox=True)) as db:
        db.execute("CREATE TABLE t (n)")
        before = db.total_changes
        with interruption.armed():
            try:
                with db:
                    db.execute("INSERT INTO t VALUES (1), (2)")
                    db.execute("UPDATE t SET n = 3")
            except Interrupted:
                pass
        db.commit()
        seen = db.execute("SELECT coalesce(sum(CASE n WHEN 3 THEN 4 ELSE 2 END) / 2, 0) FROM t")
        (at_least,) = seen.fetchone()
        assert at_least <= db.total_changes - before <= 4


def test_an_interrupted_commit_counts_no_rows_of_ours() -> None:
    assert sweep(_interrupted) > 30


def test_where_the_counters_cannot_be_restored_the_commit_succeeds() -> None:
    failures.forget()
    with closing(afterquery.sqlite3.connect(":memory:", outbox=True, isolation_level=None)) as db:
        db.execute("CREATE TABLE t (n)")

        def authorizer(action: int, table: str | None, *_: object) -> int:
            forbidden = action == sqlite3.SQLITE_UPDATE and table == "sqlite_sequence"
            return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK

        db.set_authorizer(authorizer)
        db.execute("INSERT INTO t VALUES (1)")
        assert db.execute("SELECT n FROM t").fetchall() == [(1,)]
        assert pending(db)[-1].statements[0].sql == "INSERT INTO t VALUES (1)"
    assert failures.counts() == {"changes() is not what it was before a COMMIT": 1}


def _stopped_while_it_counts(db: sqlite3.Connection) -> None:
    """A time limit that is over when the counters are restored: SQLite rolls all back then."""
    db.execute("CREATE TABLE t (n)")
    db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(20_000)])
    db.commit()
    db.execute("UPDATE t SET n = -1")
    db.set_progress_handler(lambda: 1, 10_000)


def test_a_commit_that_was_rolled_back_while_it_counted_raises() -> None:
    failures.forget()
    with closing(afterquery.sqlite3.connect(":memory:", outbox=True)) as db:
        _stopped_while_it_counts(db)
        before = len(pending(db))
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            db.commit()
        db.set_progress_handler(None, 0)
        assert not db.in_transaction
        assert db.execute("SELECT count(*) FROM t WHERE n = -1").fetchone() == (0,)
        assert len(pending(db)) == before
        db.execute("INSERT INTO t VALUES (-1)")
        db.commit()
        assert len(pending(db)) == before + 1
    assert not failures.counts()


def test_sqlalchemy_raises_what_rolled_a_commit_back() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    attached = attach(engine, outbox=True)
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        connection.exec_driver_sql("CREATE TABLE t (n)")
        many = "INSERT INTO t VALUES (?)"
        connection.exec_driver_sql(many, [(n,) for n in range(20_000)])
        connection.commit()
        before = len(pending(raw))
        connection.exec_driver_sql("UPDATE t SET n = -1")
        raw.set_progress_handler(lambda: 1, 10_000)
        with pytest.raises(Exception, match="interrupted"):
            connection.commit()
        connection.rollback()
        raw.set_progress_handler(None, 0)
        found = connection.exec_driver_sql("SELECT count(*) FROM t WHERE n = -1").scalar()
        assert found == 0
        assert len(pending(raw)) == before
    engine.dispose()
    assert attached.errors == 0
