"""SQLAlchemy with an outbox: each transaction that commits has its row, and no other has."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, func, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from afterquery import ConfigurationError, outbox
from afterquery.outbox import Relay
from afterquery.sqlalchemy import Attached, attach
from replication.world import Primary, contents, peers, reader
from support.alchemy import MODES, User, engine_on, metadata, users, wipe
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.until import until
from support.writing import writing


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path_factory.mktemp("peers"), 1) as processes:
        yield processes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture(params=MODES)
def engine(request: pytest.FixtureRequest, path: Path) -> Iterator[Engine]:
    if request.param == "autocommit_false" and sys.version_info < (3, 12):
        pytest.skip("sqlite3 has `autocommit` since Python 3.12")
    engine = engine_on(path, request.param)
    yield from attached(engine)


@pytest.fixture
def plain(path: Path) -> Iterator[Engine]:
    yield from attached(engine_on(path))


def attached(engine: Engine) -> Iterator[Engine]:
    found: Attached = attach(engine, outbox=True)
    metadata.create_all(engine)
    yield engine
    assert found.errors == 0
    assert found.last is None
    found.detach()
    engine.dispose()


def add(connection: Connection, *names: str) -> None:
    for name in names:
        connection.execute(insert(users).values(name=name))


def entries(path: Path) -> list[list[str]]:
    """The verbs of each transaction, without those that made the schema."""
    found = [[one.sql.split()[0] for one in entry.statements] for entry in rows(path)]
    return [verbs for verbs in found if "CREATE" not in verbs]


def rows(path: Path) -> list[outbox.Entry]:
    with closing(sqlite3.connect(path)) as plain:
        return outbox.pending(plain)


def delivered(path: Path, replicas: Sequence[PeerProcess]) -> None:
    """A relay makes the replica what the primary is."""
    wipe(replicas[0])
    urls = [replica.url for replica in replicas]
    relay = Relay(path, urls, auth_token=ADMIN_TOKEN, ddl=True, poll=0.02)
    assert relay.run(once=30), relay.problem
    with Primary(path) as primary, reader(replicas[0]) as read:
        tables = [t for t in primary.tables() if t.name in {"users", "orders"}]
        assert contents(read, tables) == contents(primary.read, tables)


def test_a_commit_is_a_row(engine: Engine, path: Path, replicas: Sequence[PeerProcess]) -> None:
    with engine.begin() as connection:
        add(connection, "a", "b")
        connection.execute(insert(users), [{"name": "c"}, {"name": "d"}])
    with engine.connect() as connection:
        add(connection, "gone")
        connection.rollback()
        add(connection, "e")
        connection.commit()
    with suppress(ZeroDivisionError), engine.begin() as connection:
        add(connection, "gone")
        raise ZeroDivisionError
    assert entries(path) == [["INSERT"] * 3, ["INSERT"]]
    delivered(path, replicas)


def test_savepoints(engine: Engine, path: Path, replicas: Sequence[PeerProcess]) -> None:
    with engine.begin() as connection:
        add(connection, "kept")
        with connection.begin_nested() as outer:
            add(connection, "gone")
            with connection.begin_nested():
                add(connection, "gone too")
            outer.rollback()
        with connection.begin_nested():
            add(connection, "released")
    assert entries(path) == [["INSERT"] * 2]
    delivered(path, replicas)


def test_a_savepoint_first(engine: Engine, path: Path, replicas: Sequence[PeerProcess]) -> None:
    """In sqlite3's default mode its RELEASE is a commit."""
    with engine.begin() as connection:
        with connection.begin_nested():
            add(connection, "a")
            with connection.begin_nested():
                add(connection, "b")
        add(connection, "c")
    assert [verb for verbs in entries(path) for verb in verbs] == ["INSERT"] * 3
    delivered(path, replicas)


def test_autocommit(plain: Engine, path: Path, replicas: Sequence[PeerProcess]) -> None:
    with plain.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        add(connection, "a", "b")
        with suppress(IntegrityError):
            add(connection, "a")
        connection.execute(text("UPDATE users SET n = n + 1"))
    assert entries(path) == [["INSERT"], ["INSERT"], ["UPDATE"]]
    delivered(path, replicas)


def test_sessions(engine: Engine, path: Path, replicas: Sequence[PeerProcess]) -> None:
    with Session(engine) as session:
        session.add_all([User(name=str(number)) for number in range(5)])
        session.commit()
        session.add(User(name="gone"))
        session.flush()
        session.rollback()
    assert len(entries(path)) == 1
    delivered(path, replicas)


def test_time_is_frozen(plain: Engine, path: Path, replicas: Sequence[PeerProcess]) -> None:
    with plain.begin() as connection:
        connection.execute(insert(users).values(name=func.current_timestamp()))
    delivered(path, replicas)


def test_an_async_engine(path: Path, replicas: Sequence[PeerProcess]) -> None:
    async def run() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        found = attach(engine, outbox=True)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        async with engine.begin() as connection:
            await connection.execute(insert(users).values(name="a"))
            nested = await connection.begin_nested()
            await connection.execute(insert(users).values(name="gone"))
            await nested.rollback()
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(insert(users).values(name="b"))
        assert found.errors == 0
        found.detach()
        await engine.dispose()

    asyncio.run(run())
    assert entries(path) == [["INSERT"], ["INSERT"]]
    delivered(path, replicas)


def test_a_commit_that_finds_the_database_busy(plain: Engine, path: Path) -> None:
    """Its row goes with it."""
    plain.dispose()
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    found = attach(engine, outbox=True)
    with closing(sqlite3.connect(path)) as other:
        reading = other.execute("SELECT name FROM sqlite_schema")
        with pytest.raises(OperationalError, match="locked"), engine.begin() as connection:
            add(connection, "a")
        reading.close()
        assert entries(path) == []
        with engine.begin() as connection:
            add(connection, "a")
    assert entries(path) == [["INSERT"]]
    assert found.errors == 0
    found.detach()
    engine.dispose()


def test_what_is_done_already_waits_for_its_row(plain: Engine, path: Path) -> None:
    """CREATE ... IF NOT EXISTS needs no write lock: it comes while another one has it."""
    before = len(rows(path))
    with writing(path) as other, plain.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(lambda sql: other.set() if sql == "BEGIN IMMEDIATE" else None)
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS users (id)")
        driver.set_trace_callback(None)
    assert len(rows(path)) == before + 1


def test_a_row_that_cannot_be_written_is_a_commit_that_fails(plain: Engine, path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute(
            "CREATE TRIGGER no BEFORE INSERT ON afterquery_outbox"
            " BEGIN SELECT raise(FAIL, 'afterquery_outbox'); END"
        )
    with pytest.raises(IntegrityError, match="afterquery_outbox"), plain.begin() as connection:
        add(connection, "a")
    with plain.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 0


def test_a_transaction_ended_on_the_driver_is_told(path: Path) -> None:
    engine = engine_on(path)
    found = attach(engine, outbox=True)
    metadata.create_all(engine)
    with engine.connect() as connection:
        add(connection, "a")
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.commit()
        add(connection, "b")
        connection.commit()
    assert found.errors == 1
    assert entries(path) == [["INSERT"]]
    found.detach()
    engine.dispose()


def test_a_relay_of_this_process_is_woken(
    plain: Engine, path: Path, replicas: Sequence[PeerProcess]
) -> None:
    wipe(replicas[0])
    with Relay(path, [replicas[0].url], auth_token=ADMIN_TOKEN, ddl=True, poll=60) as relay:
        until(lambda: relay.state == "working")
        with plain.begin() as connection:
            add(connection, "a")
        until(lambda: entries(path) == [])


def test_what_cannot_have_one(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with pytest.raises(ConfigurationError, match="outbox=True"):
        attach(engine)
    engine.dispose()
