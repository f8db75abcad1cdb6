"""`afterquery.sqlite3`: parameters are what SQLite got."""

from __future__ import annotations

import datetime
import decimal
import enum
import sqlite3
from collections import UserList, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from replication.modes import SCHEMA, World, every

USER = "INSERT INTO users (name) VALUES (?)"


class Colour(enum.IntEnum):
    RED = 1


class Point:
    """Adapted by itself, and another value each time."""

    made = 0

    def __conform__(self, protocol: type) -> str | None:
        if protocol is not sqlite3.PrepareProtocol:
            return None
        Point.made += 1
        return f"point {Point.made}"


class Money(decimal.Decimal):
    """Adapted by a function that is registered."""


class Default(dict[str, Any]):
    """Asked for a name, it makes a value up."""

    def __missing__(self, name: str) -> str:
        self.asked: list[str] = [*getattr(self, "asked", []), name]
        return f"{name} {len(self.asked)}"


@pytest.fixture
def adapters() -> Iterator[Callable[[type, Callable[[Any], Any]], None]]:
    before = dict(sqlite3.adapters)
    yield sqlite3.register_adapter
    sqlite3.adapters.clear()
    sqlite3.adapters.update(before)


VALUES: list[Any] = [
    None,
    0,
    -(2**63),
    2**63 - 1,
    True,
    1.5,
    float("inf"),
    -0.0,
    "nul \0 and ☃",
    b"",
    bytearray(b"\x00\xff"),
    memoryview(b"abc"),
    Colour.RED,
]


@every
def test_parameters_are_those_that_sqlite_got(
    world: World, mode: dict[str, Any], adapters: Callable[[type, Callable[[Any], Any]], None]
) -> None:
    adapters(Money, lambda money: f"{money} €")
    db = world.open(**mode)
    for number, value in enumerate([*VALUES, Money("1.50"), Point(), Point()]):
        db.execute("INSERT INTO users (name, n) VALUES (?, ?)", (str(number), value))
        db.execute("UPDATE users SET n = :v WHERE name = :k", {"v": value, "k": str(number)})
    db.executemany("INSERT INTO users (name, n) VALUES (?, ?)", [("p", Point()), ("q", Money(1))])
    db.execute(USER, UserList(["list"]))
    default = Default()
    db.execute("INSERT INTO users (name, n) VALUES (:a, :b)", default)
    assert default.asked == ["a", "b"]
    db.execute("INSERT INTO users (name, n) VALUES (:a, :b)", defaultdict(lambda: 7, a="d"))
    if db.in_transaction:
        db.commit()
    world.same(writes=world.replicator.stats().writes)
    assert world.primary.rows("SELECT n FROM users WHERE name = 'q'") == [("1 €",)]


def test_an_adapter_for_str_is_called_once(
    world: World, adapters: Callable[[type, Callable[[Any], Any]], None]
) -> None:
    adapters(str, lambda text: text + "!")
    db = world.open(isolation_level=None)
    db.execute(USER, ("Ada",))
    assert world.primary.rows("SELECT name FROM users") == [("Ada!",)]
    world.same(writes=1)


@pytest.mark.filterwarnings("ignore:The default date:DeprecationWarning")
def test_dates_with_the_default_adapters(world: World) -> None:
    db = world.open(isolation_level=None, detect_types=sqlite3.PARSE_COLNAMES)
    when = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)  # noqa: DTZ001 - what sqlite3 can store
    db.execute("INSERT INTO users (name, n) VALUES (?, ?)", (when, when.date()))
    (row,) = db.execute("SELECT n AS 'n [date]' FROM users")
    assert row == (when.date(),)
    world.same(writes=1)


def test_an_adapter_that_fails_is_an_error_of_sqlite(
    world: World, adapters: Callable[[type, Callable[[Any], Any]], None]
) -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError

    adapters(Money, fail)
    db = world.open(isolation_level=None)
    bare = sqlite3.connect(":memory:")
    bare.executescript(SCHEMA)
    errors = []
    for connection in (bare, db):
        with pytest.raises((sqlite3.Error, ZeroDivisionError)) as caught:
            connection.execute(USER, (Money(1),))
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]
    bare.close()
    world.same(writes=0)


def test_what_would_differ_is_frozen(world: World) -> None:
    db = world.open(isolation_level=None)
    first = db.execute("INSERT INTO users (name) VALUES ('first')").lastrowid
    db.execute("UPDATE users SET n = random() WHERE id = last_insert_rowid()")
    db.execute("INSERT INTO users (name, n) VALUES (randomblob(16), strftime('%J', ?))", ("now",))
    db.execute("UPDATE users SET n = n + changes() + total_changes() WHERE id = ?", (first,))
    db.execute("UPDATE users SET n = CURRENT_TIMESTAMP WHERE id = ?", (first,))
    db.executescript("BEGIN; INSERT INTO users (name) VALUES (julianday()); COMMIT")
    # Not in its place: it is another value for each row.
    db.execute("DELETE FROM users WHERE id = ? AND typeof(random()) = 'integer'", (first,))
    assert world.replicator.flush(30)
    names = "SELECT id, name, n FROM users ORDER BY id"
    assert len(world.primary.rows(names)) == 2
    world.same(writes=7)
