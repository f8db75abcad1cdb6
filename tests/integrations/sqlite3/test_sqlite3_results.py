"""`afterquery.sqlite3`: what a statement returns: RETURNING, classes of cursors and connections."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import pytest

from afterquery._failures import failures
from replication.modes import AUTOCOMMIT, World, alone, every, ids
from replication.world import (
    assert_same,
    counted,
    fulfilled,
)

USER = "INSERT INTO users (name) VALUES (?)"


@every
def test_returning(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    sql = "INSERT INTO users (name) VALUES (?), (?) RETURNING name, n"
    cursor = db.execute(sql, ("a", "b"))
    assert [column[0] for column in cursor.description] == ["name", "n"]
    assert next(cursor) == ("a", 0)
    assert cursor.fetchone() == ("b", 0)
    assert cursor.fetchone() is None
    cursor.execute(sql, ("c", "d"))
    cursor.row_factory = sqlite3.Row
    assert [dict(row) for row in cursor] == [{"name": "c", "n": 0}, {"name": "d", "n": 0}]
    cursor.row_factory = None
    cursor.execute(sql, ("e", "f"))
    assert cursor.fetchmany() == [("e", 0)]
    assert cursor.fetchmany(5) == [("f", 0)]
    assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    if db.in_transaction:
        db.commit()
    world.same(writes=3 if mode in AUTOCOMMIT else 1)


@alone
def test_returning_is_committed_though_nobody_fetches(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    cursor = db.execute("INSERT INTO users (name) VALUES ('a') RETURNING id")
    fulfilled(db.replication)
    assert_same(world.primary, world.peer)
    db.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cursor.fetchone()


@alone
def test_rows_left_behind_by_a_rollback_hold_nothing_up(world: World, mode: dict[str, Any]) -> None:
    """The standard library commits nothing as long as they could be fetched."""
    db = world.open(**mode)
    db.execute("BEGIN")
    cursor = db.execute("INSERT INTO users (name) VALUES ('never') RETURNING id")
    reading = db.execute("INSERT INTO users (name) VALUES ('nor this') RETURNING id")
    reading.execute("WITH c (n) AS (VALUES (1), (2), (3)) SELECT n FROM c")
    assert next(reading) == (1,)
    db.execute("ROLLBACK")
    db.execute(USER, ("Ada",))
    fulfilled(db.replication)
    world.same(writes=1)
    assert reading.fetchall() == [(2,), (3,)]
    assert cursor.fetchall() == []


def test_a_row_that_cannot_be_converted_is_an_error_of_the_fetch(world: World) -> None:
    db = world.open(isolation_level=None)
    sql = "INSERT INTO users (name) VALUES ('good'), (CAST(x'ff' AS TEXT)) RETURNING name"
    cursor = db.execute(sql)
    if sys.version_info >= (3, 11):  # 3.10 reads a row ahead
        assert cursor.fetchone() == ("good",)
    with pytest.raises(sqlite3.OperationalError, match="Could not decode"):
        cursor.fetchone()
    assert cursor.fetchall() == []
    world.same(writes=1)


class Shouting(sqlite3.Cursor):
    """A cursor class of the application's own."""

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        return super().execute(sql.replace("users", "USERS"), parameters)

    def fetchone(self) -> Any:
        row = super().fetchone()
        return row and ("shouted", *row)


class Slotted(sqlite3.Cursor):
    __slots__ = ("extra",)


@pytest.mark.parametrize(
    "factory",
    [sqlite3.Cursor, Shouting, Slotted, lambda db: Shouting(db), lambda db: sqlite3.Cursor(db)],
)
@pytest.mark.parametrize("mode", [{"isolation_level": None}, {}], ids=ids)
def test_cursors_of_other_classes(world: World, mode: dict[str, Any], factory: Any) -> None:
    db = world.open(**mode)
    db.row_factory = sqlite3.Row
    cursor = db.cursor(factory)
    cursor.execute("INSERT INTO users (name) VALUES ('a') RETURNING name")
    assert tuple(cursor.fetchone())[-1] == "a"
    if isinstance(factory, type):
        assert isinstance(cursor, factory)
    assert cursor.fetchone() is None
    cursor.executemany(USER, [("b",), ("c",)])
    cursor.executescript("INSERT INTO users (name) VALUES ('d')")
    cursor.close()
    db.commit()
    world.same(writes=4 if mode else 2)


def test_a_cursor_that_cannot_be_followed_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    db = world.open(isolation_level=None)
    cursor = db.cursor(lambda connection: Slotted(connection))
    cursor.execute("SELECT 1")
    assert "__slots__" in caplog.text
    assert sum(world.replicator.stats().integrations.missed.values()) == 1
    assert world.replicator.flush(0) is False
    failures.forget()


class Application(sqlite3.Connection):
    """A connection class of the application's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA foreign_keys = ON")

    def add(self, name: str) -> None:
        with self:
            self.execute(USER, (name,))


def test_a_connection_class_of_ones_own(world: World) -> None:
    db: Any = world.open(factory=Application)
    assert isinstance(db, Application)
    db.add("Ada")
    assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    world.same(writes=1)


def test_reads_and_what_is_about_the_database_itself(world: World) -> None:
    db = world.open(isolation_level=None)
    db.execute("SELECT 1")
    db.execute("PRAGMA cache_size = 100")
    db.execute("-- nothing")
    db.execute("VACUUM")
    db.execute("ATTACH ':memory:' AS other")
    db.execute("CREATE TABLE other.t (x)")
    db.execute("INSERT INTO other.t VALUES (1)")
    db.execute("CREATE TEMP TABLE mine (x)")
    db.execute("INSERT INTO temp.mine VALUES (1)")
    db.execute("BEGIN")
    db.execute("COMMIT")
    world.same(writes=0)
    assert db.replication is None
    skipped = counted(world.replicator.stats().skipped)
    assert skipped["read"] == 1
    assert skipped["other"] == 3
    assert skipped["txn"] == 2
    assert skipped["attached"] == 1
    assert skipped["temp"] == 1


def test_a_class_of_connections_with_a_text_factory(world: World) -> None:
    class Bytes(sqlite3.Connection):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)
            self.text_factory = bytes

    db = world.open(factory=Bytes)
    with db:
        db.execute(USER, ("a",))
    assert db.execute("SELECT name FROM users").fetchall() == [(b"a",)]
    world.same(writes=1)


@alone
def test_fetchmany_of_what_was_returned(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    for size, count in [(1, 1), (2, 2), (0, 3), (9, 3)]:
        rows = "INSERT INTO users (name) VALUES (?), (?), (?) RETURNING id"
        names = [f"{size} {n}" for n in range(3)]
        assert len(db.execute(rows, names).fetchmany(size)) == count
    cursor = db.execute("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError, match="Recursive"):
        cursor.executemany(USER, cursor)
    world.same(writes=4)
