"""`afterquery.sqlite3`: only what commits is replicated, as one write for each transaction."""

from __future__ import annotations

import datetime
import decimal
import enum
import gc
import logging
import signal
import sqlite3
import sys
import threading
import warnings
from collections import UserList, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery import Replicator
from afterquery._failures import failures
from replication.world import (
    Primary,
    assert_same,
    connect,
    counted,
    fulfilled,
    of,
    peers,
    prepare,
    settled,
)
from support.peer import PeerProcess

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name UNIQUE, n DEFAULT 0);
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
"""
CLEAN = "DELETE FROM users; DELETE FROM children; DELETE FROM parents;"
USER = "INSERT INTO users (name) VALUES (?)"

LEGACY: list[dict[str, Any]] = [
    {"isolation_level": level} for level in ("", "DEFERRED", "IMMEDIATE", "EXCLUSIVE")
]
AUTOCOMMIT: list[dict[str, Any]] = [{"isolation_level": None}]
MANUAL = LEGACY
if sys.version_info >= (3, 12):
    AUTOCOMMIT = [*AUTOCOMMIT, {"autocommit": True}]
    MANUAL = [*LEGACY, {"autocommit": False}]
EVERY = [*AUTOCOMMIT, *MANUAL]


def ids(mode: dict[str, Any]) -> str:
    return "-".join(repr(value) for value in mode.values())


@dataclass
class World:
    primary: Primary
    peer: PeerProcess
    replicator: Replicator
    stack: ExitStack

    def open(self, **settings: Any) -> afterquery.sqlite3.Connection:
        path = self.primary.path
        db = afterquery.sqlite3.connect(path, replicator=self.replicator, **settings)
        return self.stack.enter_context(closing(db))

    def same(self, writes: int) -> None:
        """The replica is as the primary, after so many writes, of which none was rejected."""
        assert self.replicator.flush(30)
        assert_same(self.primary, self.peer)
        assert self.replicator.stats().writes == writes
        assert self.replicator.dead_letters() == []
        assert of(self.replicator, self.peer.name).changes_differ == 0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Primary, PeerProcess]]:
    folder = tmp_path_factory.mktemp("sqlite3")
    with Primary(folder / "p.db", SCHEMA) as primary, peers(folder, 1) as (peer,):
        prepare(SCHEMA, peer)
        yield primary, peer


@pytest.fixture
def world(shared: tuple[Primary, PeerProcess]) -> Iterator[World]:
    primary, peer = shared
    primary.connection.executescript(CLEAN)
    prepare(CLEAN, peer)
    failures.forget()
    with connect(peer) as replicator, ExitStack() as stack:
        yield World(primary, peer, replicator, stack)
    assert failures.counts() == {}, "an error of our own"


every = pytest.mark.parametrize("mode", EVERY, ids=ids)
manual = pytest.mark.parametrize("mode", MANUAL, ids=ids)
alone = pytest.mark.parametrize("mode", AUTOCOMMIT, ids=ids)


@every
def test_it_is_a_connection_of_the_standard_library(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    assert isinstance(db, sqlite3.Connection)
    assert isinstance(db.cursor(), sqlite3.Cursor)
    for name, value in mode.items():
        assert getattr(db, name) == value
    assert db.replication is None


@manual
def test_commit(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    db.execute(USER, ("Eve",))
    db.execute("UPDATE users SET n = n + 1")
    assert db.in_transaction
    assert world.replicator.stats().writes == 0
    db.commit()
    fulfilled(db.replication)
    world.same(writes=1)


@manual
def test_rollback(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    db.rollback()
    assert db.replication is None
    assert world.replicator.stats().skipped["dropped"] == 1
    db.execute(USER, ("Eve",))
    db.commit()
    world.same(writes=1)


@every
def test_begin_and_commit_as_text(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    if not db.in_transaction:
        db.execute("/* a comment; */ -- another\n bEgIn immediate;")
    db.execute(USER, ("Ada",))
    db.execute(USER, ("Eve",))
    db.execute(" end transaction ;")
    assert not db.in_transaction
    db.execute("begin")
    db.execute(USER, ("never",))
    db.execute("Rollback")
    world.same(writes=1)


@alone
def test_autocommit(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    seqs = []
    for name in ("Ada", "Eve"):
        db.execute(USER, (name,))
        assert not db.in_transaction
        assert db.replication is not None
        seqs.append(db.replication.seq)
    assert seqs == [1, 2]
    db.commit()
    db.rollback()
    world.same(writes=2)


@pytest.mark.parametrize("mode", LEGACY, ids=ids)
def test_what_begins_no_transaction_commits_at_once(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute("WITH x (name) AS (SELECT 'Ada') INSERT INTO users (name) SELECT name FROM x")
    assert not db.in_transaction
    world.same(writes=1)
    db.execute("-- a comment does not hide it\nINSERT INTO users (name) VALUES ('Eve')")
    assert db.in_transaction
    world.replicator.flush(10)
    assert world.replicator.stats().writes == 1
    db.commit()
    world.same(writes=2)


@pytest.mark.parametrize("mode", [*MANUAL, {"isolation_level": None}], ids=ids)
def test_with_commits_or_rolls_back(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)

    def block(name: str, error: Exception | None) -> None:
        with db:
            if mode in AUTOCOMMIT:
                db.execute("BEGIN")
            db.execute(USER, (name,))
            if error is not None:
                raise error

    block("Ada", None)
    with pytest.raises(ZeroDivisionError):
        block("never", ZeroDivisionError())
    world.same(writes=1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Connection.autocommit is new in 3.12")
def test_with_and_commit_do_nothing_where_autocommit_is_true(world: World) -> None:
    db = world.open(autocommit=True)
    with db:
        db.execute("BEGIN")
        db.execute(USER, ("Ada",))
    db.commit()
    assert world.replicator.stats().writes == 0
    db.rollback()
    assert db.in_transaction
    db.execute("COMMIT")
    world.same(writes=1)


def test_a_commit_that_fails_in_with_is_rolled_back(world: World) -> None:
    db = world.open()
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"), db:
        db.execute("INSERT INTO children VALUES (5)")
    assert not db.in_transaction
    db.execute("INSERT INTO children VALUES (6)")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        db.commit()
    assert db.in_transaction
    db.execute("INSERT INTO parents VALUES (6)")
    db.commit()
    fulfilled(db.replication)
    world.same(writes=1)


@alone
def test_a_statement_alone_whose_commit_fails(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        db.execute("INSERT INTO children VALUES (5)")
    assert not db.in_transaction
    world.same(writes=0)


@manual
def test_a_statement_that_fails_takes_nothing_with_it(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.OperationalError):
        db.execute("INSERT INTO missing VALUES (1)")
    with pytest.raises(sqlite3.ProgrammingError):
        db.execute(USER, ())
    db.execute(USER, ("Eve",))
    db.commit()
    world.same(writes=1)


@manual
def test_or_rollback_ends_the_transaction(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT OR ROLLBACK INTO users (name) VALUES ('Ada')")
    assert not db.in_transaction
    with suppress(sqlite3.OperationalError):  # where `autocommit` is False, there is nothing to end
        db.commit()
    world.same(writes=0)
    db.execute("BEGIN")
    db.execute(USER, ("Eve",))
    db.commit()
    world.same(writes=1)


def test_or_fail_keeps_what_it_did_and_the_replica_tells(world: World) -> None:
    """The statement fails on the replica as it did here: a dead letter says so."""
    db = world.open(isolation_level=None)
    db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT OR FAIL INTO users (name) VALUES ('Eve'), ('Ada'), ('never')")
    assert not db.in_transaction
    (outcome,) = settled(db.replication).values()
    assert outcome.reason is not None
    assert outcome.reason.startswith("constraint: ")
    assert_same(world.primary, world.peer)


@every
def test_savepoints(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    if not db.in_transaction:
        db.execute("BEGIN")
    db.execute(USER, ("one",))
    db.execute('SAVEPOINT "an ""odd"" name"')
    db.execute(USER, ("two",))
    db.execute("savepoint Inner")
    db.execute(USER, ("never",))
    db.execute("ROLLBACK TRANSACTION TO SAVEPOINT iNNER")
    db.execute(USER, ("three",))
    db.execute("-- kept\nRELEASE inner")
    db.execute("SAVEPOINT [inner]")
    db.execute(USER, ("nor this",))
    db.execute("SAVEPOINT deeper")
    db.execute(USER, ("nor that",))
    db.execute("RELEASE deeper")
    db.execute("ROLLBACK TO 'inner'")
    db.execute("ROLLBACK TO inner")
    db.execute('release savepoint "AN ""odd"" NAME"')
    assert db.in_transaction
    db.execute(USER, ("four",))
    db.commit() if mode != {"autocommit": True} else db.execute("COMMIT")
    names = world.primary.rows("SELECT name FROM users ORDER BY id")
    assert names == [("one",), ("two",), ("three",), ("four",)]
    world.same(writes=1)


@alone
def test_a_savepoint_is_a_transaction_where_none_is_open(
    world: World, mode: dict[str, Any]
) -> None:
    db = world.open(**mode)
    db.execute("SAVEPOINT outer")
    db.execute(USER, ("one",))
    db.execute("SAVEPOINT ☃")
    db.execute(USER, ("never",))
    db.execute("ROLLBACK TO ☃")
    db.execute("RELEASE ☃")
    assert world.replicator.stats().writes == 0
    db.execute("RELEASE outer")
    assert not db.in_transaction
    fulfilled(db.replication)
    world.same(writes=1)


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


@every
def test_a_dirty_close_drops_what_is_open(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    if mode in AUTOCOMMIT:
        db.execute("BEGIN")
    db.execute(USER, ("never",))
    db.close()
    world.same(writes=0)
    assert counted(world.replicator.stats().skipped)["dropped"] == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        db.execute(USER, ("never",))


def test_a_connection_that_is_forgotten_is_a_dirty_close(world: World) -> None:
    path = world.primary.path
    db: Any = afterquery.sqlite3.connect(path, replicator=world.replicator)
    db.execute(USER, ("never",))
    del db
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of Python 3.13
        gc.collect()
    world.primary.run(USER, ("the file is not locked",))
    world.primary.run("DELETE FROM users")
    world.same(writes=0)


def test_setting_the_isolation_level_to_none_commits(world: World) -> None:
    db = world.open()
    db.execute(USER, ("Ada",))
    db.isolation_level = "IMMEDIATE"
    assert world.replicator.stats().writes == 0
    db.isolation_level = None
    assert not db.in_transaction
    fulfilled(db.replication)
    db.execute(USER, ("Eve",))
    world.same(writes=2)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Connection.autocommit is new in 3.12")
def test_changing_autocommit(world: World) -> None:
    db: Any = world.open(autocommit=False)
    db.execute(USER, ("Ada",))
    db.autocommit = True
    fulfilled(db.replication)
    db.execute(USER, ("Eve",))
    db.autocommit = False
    assert db.in_transaction
    db.execute(USER, ("never",))
    db.rollback()
    db.execute(USER, ("Grace",))
    db.autocommit = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL; leaves the transaction as it is
    assert world.replicator.stats().writes == 2
    db.commit()
    world.same(writes=3)


def test_ddl_goes_with_its_transaction(tmp_path: Path, peer: PeerProcess) -> None:
    with Primary(tmp_path / "p.db") as primary, connect(peer, ddl=True) as replicator:
        with closing(afterquery.sqlite3.connect(primary.path, replicator=replicator)) as db:
            db.execute("CREATE TABLE a (x)")
            db.execute("BEGIN")
            db.execute("CREATE TABLE b (x)")
            db.execute("ROLLBACK")
            db.executescript("BEGIN; CREATE TABLE c (x); INSERT INTO c VALUES (1); COMMIT")
            db.execute("ALTER TABLE a ADD COLUMN y")
        assert replicator.flush(30)
        assert replicator.stats().writes == 3
        assert_same(primary, peer)
        assert peer.client().value("SELECT count(*) FROM pragma_table_list WHERE name = 'b'") == 0


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


def test_an_authorizer_that_allows_no_transaction(world: World) -> None:
    """Then a statement runs as it would; only its place in the order of threads is not sure."""

    def allow(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK

    db = world.open(isolation_level=None)
    db.set_authorizer(allow)
    db.execute(USER, ("Ada",))
    db.executescript("INSERT INTO users (name) VALUES ('Eve')")
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        db.execute("BEGIN")
    world.same(writes=2)


def test_a_commit_behind_our_back_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    db = world.open()
    db.execute(USER, ("unseen",))
    sqlite3.Connection.commit(db)
    db.execute(USER, ("seen",))
    db.commit()
    assert "ended unseen" in caplog.text
    failures.forget()
    assert world.replicator.stats().writes == 1


class Broken:
    """A replicator in which everything fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_an_error_of_ours_never_reaches_the_application(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures.forget()
    broken: Any = Broken()
    db = afterquery.sqlite3.connect(tmp_path / "p.db", replicator=broken)
    db.executescript(SCHEMA)
    with caplog.at_level(logging.ERROR, "afterquery"):
        for name in ("Ada", "Eve"):
            db.execute(USER, (name,))
            db.execute("UPDATE users SET n = random()")
            db.execute("SAVEPOINT s")
            db.execute("ROLLBACK TO s")
            db.commit()
    db.isolation_level = None
    assert db.execute("INSERT INTO users (name) VALUES ('c') RETURNING name").fetchall() == [("c",)]
    db.executemany(USER, [("d",), ("e",)])
    assert db.replication is None
    assert db.execute("SELECT count(*) FROM users").fetchone() == (5,)
    db.close()
    errors = afterquery.sqlite3.errors()
    assert errors["a statement could not be replicated"] >= 4
    assert caplog.text.count("a statement could not be replicated") == 1
    failures.forget()


def test_wrong_use_is_an_error_as_ever(world: World) -> None:
    db: Any = world.open()
    bare: Any = sqlite3.connect(":memory:")
    bare.executescript(SCHEMA)
    calls: list[Callable[[Any], object]] = [
        lambda db: db.execute(5),
        lambda db: db.execute("SELECT 1; SELECT 2"),
        lambda db: db.execute(USER, 5),
        lambda db: db.execute(USER, {"a"}),
        lambda db: db.execute(USER, (object(),)),
        lambda db: db.executemany(5, []),
        lambda db: db.executemany(USER, 5),
        lambda db: db.executemany("SELECT ?", [(1,)]),
        lambda db: db.executemany("CREATE TABLE nonsense (", []),
        lambda db: db.executescript(5),
        lambda db: db.executescript("nonsense"),
        lambda db: setattr(db, "isolation_level", "nonsense"),
        lambda db: db.cursor(lambda _: 5),
    ]
    for number, call in enumerate(calls):
        found = []
        for connection in (bare, db):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever sqlite3 raises
                call(connection)
            found.append((caught.type, str(caught.value)))
        assert found[0] == found[1], number
    bare.close()
    db.rollback()
    world.same(writes=0)


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


CASCADE = """
CREATE TABLE IF NOT EXISTS owners (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS a (owner REFERENCES owners ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS b (owner REFERENCES owners);
DELETE FROM b; DELETE FROM a; DELETE FROM owners;
INSERT INTO owners VALUES (1); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);
"""


@pytest.mark.parametrize("mode", [*AUTOCOMMIT, *LEGACY], ids=ids)
def test_what_a_cascade_did_before_its_statement_failed_is_undone(
    world: World, mode: dict[str, Any]
) -> None:
    world.primary.connection.executescript(CASCADE)
    prepare(CASCADE, world.peer)
    db = world.open(**mode)
    db.execute("PRAGMA foreign_keys = ON")
    db.commit()
    db.execute(USER, ("before",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("DELETE FROM owners")
    db.execute(USER, ("after",))
    db.commit()
    assert world.replicator.flush(30)
    assert world.replicator.dead_letters() == []
    assert_same(world.primary, world.peer)
    assert world.primary.rows("SELECT count(*) FROM a") == [(1,)]


@pytest.mark.parametrize("mode", LEGACY[:3], ids=ids)
def test_a_signal_handler_that_raises_when_the_commit_is_over(
    world: World, mode: dict[str, Any]
) -> None:
    """Python runs it after the call, which has succeeded by then."""
    db = world.open(**mode)
    main = threading.main_thread().ident
    assert main is not None
    reader = sqlite3.connect(world.primary.path, check_same_thread=False, timeout=0)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM users").fetchall()
    db.execute(USER, ("committed",))

    def interrupt() -> None:
        with closing(sqlite3.connect(world.primary.path, timeout=0)) as other:
            with suppress(sqlite3.OperationalError):
                while True:  # until it is locked: COMMIT waits for the reader
                    other.execute("SELECT * FROM users").fetchall()
            signal.pthread_kill(main, signal.SIGUSR1)
            reader.close()

    def handler(*_: object) -> None:
        raise InterruptedError("soft time limit")

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(InterruptedError):
            db.commit()
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join()
    assert not db.in_transaction
    world.same(writes=1)


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


REFUSED = """
CREATE TABLE IF NOT EXISTS refused (x);
CREATE TABLE IF NOT EXISTS checked (x);
CREATE TRIGGER IF NOT EXISTS guard BEFORE INSERT ON checked WHEN new.x < 0
BEGIN INSERT INTO refused VALUES (new.x); SELECT RAISE(FAIL, 'negative'); END;
"""


def test_what_a_trigger_did_before_it_said_fail_stays(world: World) -> None:
    world.primary.connection.executescript(REFUSED)
    prepare(REFUSED, world.peer)
    db = world.open()
    with pytest.raises(sqlite3.IntegrityError, match="negative"):
        db.execute("INSERT INTO checked VALUES (-5)")
    db.commit()
    assert world.replicator.flush(30)
    assert_same(world.primary, world.peer)
    assert world.primary.rows("SELECT x FROM refused") == [(-5,)]
    assert len(world.replicator.dead_letters()) == 1
    assert world.replicator.discard() == 1
    cleaning = "DROP TRIGGER guard; DROP TABLE refused; DROP TABLE checked;"
    world.primary.connection.executescript(cleaning)
    prepare(cleaning, world.peer)


def test_connecting_waits_for_nobody(world: World) -> None:
    with closing(sqlite3.connect(world.primary.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        db = world.open(timeout=0)
    with db:
        db.execute(USER, ("a",))
    world.same(writes=1)
