"""One way of binding parameters: the replicas get what SQLite got, whoever the integration is."""

from __future__ import annotations

import array
import asyncio
import datetime
import decimal
import enum
import fractions
import os
import sqlite3
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

import afterquery.aiosqlite
import afterquery.sqlite3
from afterquery import Replicator
from afterquery._binding import bound
from afterquery._failures import failures
from afterquery.outbox import Relay
from afterquery.outbox._values import kept
from afterquery.sqlalchemy import attach
from replication.world import connect, peers
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.until import until

BY_PLACE = "INSERT INTO {} VALUES (?, ?)"


class Level(enum.IntEnum):
    HIGH = 3


class Shout(str):
    """Whatever else it says, sqlite3 binds its letters."""

    __slots__ = ()

    def __str__(self) -> str:
        return "no"


class Half(float):
    def __repr__(self) -> str:
        return "no"


class Place:
    def __conform__(self, protocol: object) -> object:
        return array.array("b", [1, 2]) if protocol is sqlite3.PrepareProtocol else None


class Unknown:
    """No type of SQLite's, and no adapter."""


@pytest.fixture(autouse=True)
def adapters() -> Iterator[None]:
    before = dict(sqlite3.adapters)
    sqlite3.register_adapter(uuid.UUID, lambda value: value.bytes)
    sqlite3.register_adapter(decimal.Decimal, str)
    sqlite3.register_adapter(fractions.Fraction, lambda _: None)
    sqlite3.register_adapter(datetime.datetime, lambda value: f"at {value.isoformat()}")
    sqlite3.register_adapter(bool, lambda value: "yes" if value else "no")
    sqlite3.register_adapter(float, lambda value: value * 2)
    yield
    sqlite3.adapters.clear()
    sqlite3.adapters.update(before)


VALUES: list[Any] = [
    uuid.UUID(int=5),
    decimal.Decimal("1.50"),
    fractions.Fraction(1, 3),
    datetime.datetime(2024, 2, 29, 1, 2, 3),  # noqa: DTZ001 - what sqlite3 can store
    True,
    1.25,
    Level.HIGH,
    Shout("loud"),
    Half(0.5),
    Place(),
    array.array("h", [7, 8]),
    None,
    "text",
    -(2**63),
]


def stored(path: Path | str, table: str = "v") -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT k, typeof(x), x FROM {table} ORDER BY k").fetchall()


def expected() -> list[Any]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE v (k INTEGER PRIMARY KEY, x)")
        db.executemany("INSERT INTO v VALUES (?, ?)", enumerate(VALUES))
        return db.execute("SELECT k, typeof(x), x FROM v ORDER BY k").fetchall()


def rows() -> list[tuple[int, Any]]:
    return list(enumerate(VALUES))


def by_sqlite3(path: Path, table: str, **settings: Any) -> None:
    with closing(afterquery.sqlite3.connect(path, **settings)) as db:
        db.execute(f"CREATE TABLE {table} (k INTEGER PRIMARY KEY, x)")
        for key, value in rows()[:5]:
            db.execute(BY_PLACE.format(table), (key, value))
        # More than the statement names, some of which SQLite could not hold.
        more = {"spare": Unknown(), "huge": 2**70, "list": [1]}
        for key, value in rows()[5:9]:
            named = {"k": key, "x": value, **more}
            db.execute(f"INSERT INTO {table} VALUES (:k, :x)", named)
        db.executemany(BY_PLACE.format(table), rows()[9:12])
        left = [{"k": key, "x": value, **more} for key, value in rows()[12:]]
        db.executemany(f"INSERT INTO {table} VALUES (:k, :x)", left)
        db.commit()


def by_sqlalchemy(path: Path, table: str, **settings: Any) -> None:
    engine = create_engine(f"sqlite:///{path}")
    attached = attach(engine, **settings)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {table} (k INTEGER PRIMARY KEY, x)")
        for row in rows()[:7]:
            connection.exec_driver_sql(BY_PLACE.format(table), row)
        connection.exec_driver_sql(BY_PLACE.format(table), rows()[7:])
    assert attached.errors == 0
    attached.detach()
    engine.dispose()


def by_async_sqlalchemy(path: Path, table: str, **settings: Any) -> None:
    async def run() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        attached = attach(engine, **settings)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"CREATE TABLE {table} (k INTEGER PRIMARY KEY, x)")
            await connection.exec_driver_sql(BY_PLACE.format(table), rows())
        assert attached.errors == 0
        attached.detach()
        await engine.dispose()

    asyncio.run(run())


def by_aiosqlite(path: Path, table: str, **settings: Any) -> None:
    async def run() -> None:
        async with afterquery.aiosqlite.connect(path, **settings) as db:
            await db.execute(f"CREATE TABLE {table} (k INTEGER PRIMARY KEY, x)")
            await db.executemany(BY_PLACE.format(table), rows())
            await db.commit()

    asyncio.run(run())


WAYS = [by_sqlite3, by_sqlalchemy, by_async_sqlalchemy, by_aiosqlite]
Way = Callable[..., None]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    with peers(tmp_path_factory.mktemp("peer"), 1) as (one,):
        yield one


@pytest.mark.parametrize("way", WAYS)
def test_replicas_get_what_sqlite_got(tmp_path: Path, peer: PeerProcess, way: Way) -> None:
    failures.forget()
    with connect(peer, ddl=True) as replicator:
        way(tmp_path / "a.db", way.__name__, replicator=replicator)
        assert replicator.flush(30)
        assert replicator.dead_letters() == []
    assert failures.counts() == {}
    assert stored(tmp_path / "a.db", way.__name__) == expected()
    assert stored(peer.db, way.__name__) == expected()


@pytest.mark.parametrize("way", WAYS)
def test_an_outbox_keeps_what_sqlite_got(tmp_path: Path, peer: PeerProcess, way: Way) -> None:
    failures.forget()
    table = f"{way.__name__}_outbox"
    way(tmp_path / "a.db", table, outbox=True)
    with Relay(tmp_path / "a.db", [peer.url], auth_token=ADMIN_TOKEN, ddl=True) as relay:
        until(lambda: relay.replicator is not None and relay.replicator.stats().writes > 0)
        assert relay.replicator is not None
        assert relay.replicator.flush(30)
        assert relay.replicator.dead_letters() == []
        until(lambda: len(stored(peer.db, table)) == len(VALUES))
    assert failures.counts() == {}
    assert stored(peer.db, table) == expected()


def test_what_sqlite_never_asked_for_is_not_adapted() -> None:
    asked: list[object] = []
    sqlite3.register_adapter(Unknown, asked.append)
    with closing(sqlite3.connect(":memory:")) as db:
        (got,) = db.execute("SELECT :a", bound({"a": Level.HIGH, "b": Unknown()})).fetchone()
    assert (got, asked) == (3, [])


def test_an_adapter_that_was_taken_away_and_another_one_that_came() -> None:
    bound((1, "a"))
    del sqlite3.adapters[(bool, sqlite3.PrepareProtocol)]
    sqlite3.register_adapter(str, lambda value: value.upper())
    with closing(sqlite3.connect(":memory:")) as db:
        assert db.execute("SELECT ?, ?", bound((True, "a"))).fetchone() == (1, "A")
    assert kept("", bound((True, "a")), None, many=False).params == (1, "A")


@pytest.mark.parametrize("error", [KeyError("k"), TypeError("t"), ZeroDivisionError()])
def test_an_adapter_is_called_once_and_its_error_is_the_users(error: Exception) -> None:
    calls: list[object] = []

    def fail(value: object) -> None:
        calls.append(value)
        raise error

    sqlite3.register_adapter(Unknown, fail)
    replicator = Replicator(["http://127.0.0.1:9"])
    db = afterquery.sqlite3.connect(":memory:", replicator=replicator)
    db.execute("CREATE TABLE t (x)")
    sql = "INSERT INTO t VALUES (:x)"
    for parameters in ((Unknown(),), {"x": Unknown()}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a name and a sequence
            with pytest.raises(type(error)) as caught:
                db.execute(sql, parameters)
        assert caught.value is error
    with pytest.raises(type(error)):
        db.executemany(sql, [{"x": 1}, {"x": Unknown()}])
    assert len(calls) == 3
    assert db.execute("SELECT x FROM t").fetchall() == [(1,)]
    db.close()
    replicator.close(0)


@pytest.mark.parametrize("wrong", [Unknown(), memoryview(b"abcd")[::2], 2**64, [1], "\udcff"])
def test_what_sqlite_refuses_is_refused_in_the_same_words(wrong: object) -> None:
    replicator = Replicator(["http://127.0.0.1:9"])
    db = afterquery.sqlite3.connect(":memory:", replicator=replicator)
    found = []
    for connection in (sqlite3.connect(":memory:"), db):
        connection.execute("CREATE TABLE t (x)")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - it is compared
            connection.execute("INSERT INTO t VALUES (?)", (wrong,))
        found.append((caught.type, str(caught.value)))
        connection.close()
    replicator.close(0)
    assert found[0] == found[1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 warns since Python 3.12")
def test_warnings_name_the_line_of_the_application() -> None:
    def adapt(value: datetime.date) -> str:
        raise AssertionError(value)

    adapt.__module__ = "sqlite3.dbapi2"  # Python's own: Django, for one, may have replaced it
    sqlite3.register_adapter(datetime.date, adapt)
    replicator = Replicator(["http://127.0.0.1:9"])
    db = afterquery.sqlite3.connect(":memory:", replicator=replicator)
    db.execute("CREATE TABLE t (x)")
    runs: list[Callable[[], object]] = [
        lambda: db.execute("INSERT INTO t VALUES (?)", (datetime.date(2024, 2, 29),)),
        lambda: db.executemany("INSERT INTO t VALUES (?)", [(datetime.date(2024, 2, 29),)]),
    ]
    if sys.version_info < (3, 14):
        runs.append(lambda: db.execute("INSERT INTO t VALUES ('a:b' || ?3 || :x)", (1, 2, 3, 4)))
    for run in runs:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default", DeprecationWarning)
            run()
        assert caught, "no warning"
        assert caught[0].filename == __file__
    assert "Binding 4 (':x')" in str(caught[0].message) or sys.version_info >= (3, 14)
    db.close()
    replicator.close(0)


def test_a_class_of_ones_own_initialised_late_or_again(tmp_path: Path) -> None:
    class Late(sqlite3.Connection):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            self.later = (arguments, settings)

    replicator = Replicator(["http://127.0.0.1:9"])
    late: Any = afterquery.sqlite3.connect(
        tmp_path / "a.db", replicator=replicator, factory=Late, isolation_level=None
    )
    with pytest.raises(sqlite3.ProgrammingError, match="__init__ not called"):
        late.execute("CREATE TABLE t (x)")
    arguments, settings = late.later
    super(Late, late).__init__(*arguments, **settings)
    late.execute("CREATE TABLE t (x)")
    other = afterquery.sqlite3.connect(tmp_path / "a.db", replicator=replicator)
    assert late._follower.gathering.order is other._follower.gathering.order
    if sys.version_info >= (3, 11):  # before, the first connection stays open
        other.execute("INSERT INTO t VALUES (1)")
    other.__init__(tmp_path / "a.db", isolation_level=None)  # type: ignore[misc]
    other.execute("INSERT INTO t VALUES (2)")
    assert late._follower.gathering.order is other._follower.gathering.order
    assert late.execute("SELECT x FROM t").fetchall() == [(2,)]
    late.close()
    other.close()
    replicator.close(0)


def test_positional_arguments(tmp_path: Path) -> None:
    class Mine(sqlite3.Connection):
        pass

    replicator = Replicator(["http://127.0.0.1:9"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        db = afterquery.sqlite3.connect(
            f"file:{tmp_path}/a.db", 5.0, 0, None, False, Mine, 8, True, replicator=replicator
        )
    assert isinstance(db, Mine)
    assert isinstance(db, afterquery.sqlite3.Connection)
    assert db.isolation_level is None
    db.close()
    with pytest.raises(afterquery.ConfigurationError, match="must be a subclass"):
        afterquery.sqlite3.connect(
            ":memory:", replicator=replicator, factory=lambda *_: sqlite3.connect(":memory:")
        )
    replicator.close(0)


@pytest.mark.skipif(sys.platform == "darwin", reason="a path is UTF-8 there")
def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    failures.forget()
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.db")  # noqa: PTH118 - bytes
    replicator = Replicator(["http://127.0.0.1:9"])
    one = afterquery.sqlite3.connect(path, replicator=replicator)
    two = afterquery.sqlite3.connect(os.fsdecode(path), replicator=replicator)
    assert one._follower.gathering.order is two._follower.gathering.order
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path))
    attached = attach(engine, replicator)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert attached.errors == 0
    assert attached.last is not None
    attached.detach()
    engine.dispose()
    for db in (one, two):
        db.close()
    replicator.close(0)
    assert failures.counts() == {}


def test_aiosqlite_takes_whatever_names_a_path(tmp_path: Path) -> None:
    class Location:
        def __str__(self) -> str:
            return str(tmp_path / "a.db")

    async def run() -> None:
        replicator = Replicator(["http://127.0.0.1:9"])
        async with afterquery.aiosqlite.connect(Location(), replicator=replicator) as db:
            await db.execute("CREATE TABLE t (x)")
        replicator.close(0)

    asyncio.run(run())
    assert (tmp_path / "a.db").exists()
