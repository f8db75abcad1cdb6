"""`afterquery.sqlite3`: `executemany` and `executescript`."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from replication.modes import AUTOCOMMIT, LEGACY, World, alone, every, ids, manual
from replication.world import (
    assert_same,
    fulfilled,
)

USER = "INSERT INTO users (name) VALUES (?)"


@manual
def test_executemany(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    cursor = db.executemany(USER, ((f"u{n}",) for n in range(500)))
    assert cursor.rowcount == 500
    assert db.in_transaction
    db.executemany("UPDATE users SET n = :n WHERE name = :name", [{"n": 1, "name": "u1"}])
    db.commit()
    fulfilled(db.replication)
    world.same(writes=1)


@manual
def test_executemany_that_fails_keeps_the_rows_before(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    with pytest.raises(sqlite3.IntegrityError):
        db.executemany(USER, [("a",), ("b",), ("a",), ("never",)])

    def rows() -> Iterator[tuple[str]]:
        yield ("c",)
        yield ("d",)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.executemany(USER, rows())
    with pytest.raises(sqlite3.ProgrammingError):
        db.executemany(USER, [("e",), ("too", "many")])
    db.commit()
    names = world.primary.rows("SELECT name FROM users ORDER BY id")
    assert names == [("a",), ("b",), ("c",), ("d",), ("e",)]
    world.same(writes=1)


@alone
def test_executemany_alone_commits_each_row(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    cursor = db.execute(USER, ("first",))
    lastrowid = cursor.lastrowid
    cursor.executemany(USER, ((name,) for name in "abc"))
    assert (cursor.rowcount, cursor.lastrowid) == (3, lastrowid)
    assert cursor.fetchall() == []
    with pytest.raises(sqlite3.IntegrityError):
        cursor.executemany(USER, [("d",), ("a",), ("never",)])
    cursor.execute("BEGIN")
    cursor.executemany(USER, [("e",), ("f",)])
    cursor.execute("COMMIT")
    world.same(writes=6)


@every
def test_executemany_gives_each_row_its_own_chance(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    sql = "INSERT INTO users (name, n) VALUES (hex(randomblob(8)), ?)"
    assert db.executemany(sql, [(n,) for n in range(5)]).rowcount == 5
    if db.in_transaction:
        db.commit()
    assert len(set(world.primary.rows("SELECT name FROM users"))) == 5
    world.same(writes=5 if mode in AUTOCOMMIT else 1)


@every
def test_executescript(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    manual = mode == {"autocommit": False}
    begin, commit = ("", "COMMIT; BEGIN;") if manual else ("BEGIN;", "COMMIT;")
    db.execute(USER, ("before",))
    if mode in LEGACY:
        assert db.in_transaction
    db.executescript(
        f"""
        {begin} INSERT INTO users (name) VALUES ('a;b'); -- not; here
        SAVEPOINT s; INSERT INTO users (name) VALUES ('never'); ROLLBACK TO s;
        SELECT CAST(x'ff' AS TEXT) FROM users;
        INSERT INTO users (name) VALUES ('c') RETURNING id; {commit}
        CREATE TEMP TRIGGER t AFTER UPDATE ON users BEGIN SELECT 1; SELECT 2; END;
        UPDATE users SET n = 5
        """
    )
    if manual:
        db.commit()
    world.same(writes=2 if manual else 3)


def test_a_script_that_fails_keeps_what_it_committed(world: World) -> None:
    db = world.open()
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        db.executescript(
            "INSERT INTO users (name) VALUES ('a'); BEGIN; INSERT INTO users (name) VALUES ('b');"
            "nonsense; INSERT INTO users (name) VALUES ('never')"
        )
    assert db.in_transaction
    db.rollback()
    world.same(writes=1)


def test_a_script_with_a_nul(world: World) -> None:
    """Python 3.10 reads up to it, and later ones refuse it."""
    db = world.open(isolation_level=None)
    with pytest.raises(ValueError, match="null") if sys.version_info >= (3, 11) else nullcontext():
        db.executescript("INSERT INTO users (name) VALUES ('a'); \0 nonsense")
    world.same(writes=0 if sys.version_info >= (3, 11) else 1)


@manual
def test_a_generator_that_commits_between_its_rows(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)

    def rows() -> Iterator[tuple[str]]:
        for n in range(5):
            if n in {2, 4}:
                db.commit()
            yield (f"name {n}",)

    db.executemany(USER, rows())
    db.commit()
    assert world.replicator.flush(30)
    assert_same(world.primary, world.peer)
    assert world.primary.rows("SELECT count(*) FROM users") == [(5,)]


@manual
def test_a_generator_that_rolls_back_and_writes_between_its_rows(
    world: World, mode: dict[str, Any]
) -> None:
    db = world.open(**mode)

    def rows() -> Iterator[tuple[str]]:
        yield ("rolled back",)
        db.rollback()
        db.execute(USER, ("between",))
        yield ("after",)
        db.execute("UPDATE users SET n = n + 1")
        yield ("last",)

    db.executemany(USER, rows())
    db.commit()
    assert world.replicator.flush(30)
    assert_same(world.primary, world.peer)
    names = "SELECT name, n FROM users ORDER BY id"
    assert world.primary.rows(names) == [("between", 1), ("after", 1), ("last", 0)]


def test_a_generator_that_fills_the_same_object_again(world: World) -> None:
    db = world.open()

    def lists() -> Iterator[list[str]]:
        row = [""]
        for n in range(3):
            row[0] = f"list {n}"
            yield row

    def dicts() -> Iterator[dict[str, str]]:
        row = {}
        for n in range(3):
            row["name"] = f"dict {n}"
            yield row

    def buffers() -> Iterator[tuple[bytearray]]:
        buffer = bytearray(b"buffer 0")
        for n in range(3):
            buffer[-1] = ord("0") + n
            yield (buffer,)

    with db:
        db.executemany(USER, lists())
        db.executemany("INSERT INTO users (name) VALUES (:name)", dicts())
        db.executemany(USER, buffers())
    world.same(writes=1)
    assert world.primary.rows("SELECT count(DISTINCT name) FROM users") == [(9,)]


@pytest.mark.parametrize("mode", LEGACY, ids=ids)
def test_executemany_whose_row_rolls_the_transaction_back(
    world: World, mode: dict[str, Any]
) -> None:
    db = world.open(**mode)
    db.execute(USER, ("rolled back",))
    rows = [(1, "a"), (2, "b"), (1, "c")]
    with pytest.raises(sqlite3.IntegrityError):
        db.executemany("INSERT OR ROLLBACK INTO users (id, name) VALUES (?, ?)", rows)
    db.execute(USER, ("after",))
    db.commit()
    world.same(writes=1)
    assert world.primary.rows("SELECT name FROM users") == [("after",)]
