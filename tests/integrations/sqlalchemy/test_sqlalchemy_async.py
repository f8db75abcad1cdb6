"""What async engines on aiosqlite commit reaches the replicas, and nothing else does."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from afterquery import ConfigurationError
from afterquery.sqlalchemy import attach
from replication.world import TIMEOUT, peers
from support.alchemy import User, World, async_world_on, begin_by_hand, users
from support.peer import PeerProcess

Story = Callable[[World, AsyncEngine], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path_factory.mktemp("peers"), 2) as processes:
        yield processes


@pytest.fixture(params=["legacy", "begin"])
def play(request: pytest.FixtureRequest, tmp_path: Path, replicas: Sequence[PeerProcess]) -> Play:
    """Runs a coroutine with an attached engine, in an event loop of its own."""
    return player(tmp_path / "primary.db", replicas, by_hand=request.param == "begin")


def player(path: Path, replicas: Sequence[PeerProcess], *, by_hand: bool = False) -> Play:
    async def played(story: Story) -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{path}", connect_args={"timeout": TIMEOUT}
        )
        if by_hand:
            begin_by_hand(engine.sync_engine)
        async with async_world_on(engine, path, replicas) as world:
            await story(world, engine)

    return lambda story: asyncio.run(played(story))


async def add(connection: AsyncConnection, *names: str) -> None:
    for name in names:
        await connection.execute(insert(users).values(name=name))


def test_commit_rollback_and_exception(play: Play) -> None:
    async def story(world: World, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await add(connection, "a", "b")
        async with engine.connect() as connection:
            await add(connection, "gone")
            await connection.rollback()
        with suppress(ZeroDivisionError):
            async with engine.begin() as connection:
                await add(connection, "raised")
                raise ZeroDivisionError
        world.same(writes=1)
        assert world.names() == ["a", "b"]
        assert world.attached.last is not None
        assert world.attached.last.seq == world.before + 1

    play(story)


def test_savepoints(play: Play) -> None:
    async def story(world: World, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await add(connection, "a")
            async with connection.begin_nested():
                await add(connection, "b")
                inner = await connection.begin_nested()
                await add(connection, "c")
                await inner.rollback()
            with suppress(IntegrityError):
                async with connection.begin_nested():
                    await add(connection, "d", "a")
        world.same(writes=1)
        assert world.names() == ["a", "b"]

    play(story)


def test_many_rows_returning_and_failures(play: Play) -> None:
    rows: list[dict[str, Any]] = [{"name": f"u{n}"} for n in range(1_500)]

    async def story(world: World, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            found = await connection.execute(insert(users).returning(users.c.id), rows)
            assert len(found.all()) == 1_500
            sql = "INSERT INTO users (name) VALUES (?)"
            with pytest.raises(IntegrityError):
                await connection.exec_driver_sql(sql, [("x",), ("u1",), ("y",)])
            await connection.execute(update(users).values(n=users.c.n + 1))
        world.same(writes=1)
        assert world.names()[-1] == "x"

    play(story)


def test_autocommit(tmp_path: Path, replicas: Sequence[PeerProcess]) -> None:
    async def story(world: World, engine: AsyncEngine) -> None:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await add(connection, "a")
            world.same(writes=1)
            with pytest.raises(IntegrityError):
                await add(connection, "a")
            sql = text("INSERT INTO users (name) VALUES ('b'), ('c') RETURNING name")
            assert (await connection.execute(sql)).scalars().all() == ["b", "c"]
            async with connection.stream(
                text("INSERT INTO users (name) VALUES ('d'), ('e') RETURNING name")
            ) as streamed:
                assert await streamed.scalars().all() == ["d", "e"]
            await connection.rollback()
        world.same(writes=3)
        assert world.names() == ["a", "b", "c", "d", "e"]

    player(tmp_path / "primary.db", replicas)(story)


def test_sessions(play: Play) -> None:
    async def story(world: World, engine: AsyncEngine) -> None:
        world.attached.detach()
        make = async_sessionmaker(engine, expire_on_commit=False)
        world.attached = attach(make, world.replicator)
        with pytest.raises(ConfigurationError, match="attached already"):
            attach(engine, world.replicator)
        async with make.begin() as session:
            user = User(name="a", n=1)
            session.add(user)
            await session.flush()
            with suppress(IntegrityError):
                async with session.begin_nested():
                    session.add(User(name="a", n=2))
            user.n = 7
        async with make() as session:
            session.add(User(name="b", n=1))
            await session.flush()
        world.same(writes=1)

    play(story)


def test_many_tasks_at_once(play: Play) -> None:
    """Each with its own connection; all are told in commit order."""

    async def task(make: async_sessionmaker[AsyncSession], number: int) -> None:
        for turn in range(8):
            async with make() as session:
                await session.execute(text("UPDATE users SET n = n * 3 + :k"), {"k": number})
                session.add(User(name=f"{number}-{turn}", n=turn))
                await session.flush()
                await (session.rollback if turn % 4 == 3 else session.commit)()

    async def story(world: World, engine: AsyncEngine) -> None:
        make = async_sessionmaker(engine)
        await asyncio.gather(*(task(make, number) for number in range(5)))
        world.same(writes=5 * 6)

    play(story)


def test_two_event_loops(tmp_path: Path, replicas: Sequence[PeerProcess]) -> None:
    """Two engines on one file, each in the loop of its own thread, and one order of commits."""
    path = tmp_path / "primary.db"

    def engine() -> AsyncEngine:
        return create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": TIMEOUT})

    async def other(world: World, rate: int) -> None:
        second = engine()
        attached = attach(second, world.replicator)
        await write(second, rate)
        assert attached.errors == 0
        await second.dispose()

    async def write(target: AsyncEngine, rate: int) -> None:
        for number in range(25):
            async with target.begin() as connection:
                sql = text("UPDATE users SET n = (n * 31 + :k) % 1000003")
                await connection.execute(sql, {"k": number * rate})
                await add(connection, f"{rate}-{number}")

    async def main() -> None:
        first = engine()
        async with async_world_on(first, path, replicas) as world:
            thread = threading.Thread(target=lambda: asyncio.run(other(world, 7)))
            thread.start()
            await write(first, 3)
            await asyncio.to_thread(thread.join)
            world.same(writes=50)

    asyncio.run(main())


class Cancelled(Coroutine[Any, Any, None]):
    """Work that is cancelled when it waits for the `place`th time: at once, or `later`, when what
    it waits for may be done."""

    def __init__(self, work: Coroutine[Any, Any, None], place: int, *, later: bool) -> None:
        self._work = work
        self._left = place
        self._later = later

    def send(self, value: Any) -> Any:
        return self._waits(self._work.send(value))

    def throw(self, *error: Any) -> Any:
        return self._waits(self._work.throw(*error))

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError  # it is for a task

    def _waits(self, waiting: Any) -> Any:
        self._left -= 1
        task = asyncio.current_task()
        if self._left == 0 and task is not None:
            asyncio.get_running_loop().call_soon(task.cancel) if self._later else task.cancel()
        return waiting


@pytest.mark.parametrize("later", [False, True])
def test_a_cancelled_task_is_dropped_unless_it_committed(play: Play, later: bool) -> None:
    """Cancelled wherever it waits, at COMMIT among others: the database decides."""

    async def work(engine: AsyncEngine, name: str) -> None:
        async with engine.begin() as connection:
            await add(connection, name)

    async def was_cancelled(engine: AsyncEngine, place: int) -> bool:
        # Not while it connects: aiosqlite then leaves the connection open (its issue 259).
        async with engine.connect():
            pass
        task = asyncio.create_task(Cancelled(work(engine, f"u{place}"), place, later=later))
        await asyncio.wait([task])
        return task.cancelled()

    async def story(world: World, engine: AsyncEngine) -> None:
        place = 1
        while await was_cancelled(engine, place):
            place += 1
        # Some were cancelled before their COMMIT, some at it or after it.
        assert 1 < len(world.names()) < place
        world.same()

    play(story)


def test_cancelled_while_it_commits_it_is_a_write(play: Play) -> None:
    async def story(world: World, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await add(connection, "a")
            task = asyncio.create_task(connection.commit())
            await asyncio.sleep(0)  # COMMIT is with aiosqlite's thread now
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert world.names() == ["a"]
        world.same(writes=1)

    play(story)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has `autocommit` since Python 3.12")
@pytest.mark.parametrize("succeeds", [True, False])
def test_cancelled_while_commit_waits(
    tmp_path: Path, replicas: Sequence[PeerProcess], succeeds: bool
) -> None:
    """With `autocommit=False` one is always open: only a mark in it tells what came of it."""
    path = tmp_path / "primary.db"

    async def main() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{path}",
            connect_args={"autocommit": False, "timeout": TIMEOUT if succeeds else 0.1},
        )
        async with async_world_on(engine, path, replicas) as world:
            reader = sqlite3.connect(path, isolation_level=None, timeout=0)
            other = sqlite3.connect(path, isolation_level=None, timeout=0)
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM users").fetchall()

            async def work() -> None:
                async with engine.begin() as connection:
                    await add(connection, "a")

            task = asyncio.create_task(work())
            with suppress(sqlite3.OperationalError):
                while True:  # until it is locked: COMMIT waits for the reader
                    other.execute("SELECT * FROM users").fetchall()
                    await asyncio.sleep(0.001)
            task.cancel()
            if succeeds:
                await asyncio.sleep(0)
                reader.close()
            with pytest.raises((asyncio.CancelledError, OperationalError)):
                await task
            reader.close()
            other.close()
            assert world.names() == (["a"] if succeeds else [])
            world.same(writes=int(succeeds))

    asyncio.run(main())


def test_a_connection_left_to_the_garbage_collector(play: Play) -> None:
    async def story(world: World, engine: AsyncEngine) -> None:
        if not engine.dialect.has_terminate:
            pytest.skip("here SQLAlchemy leaves it open, and its lock in the database")
        connection = await engine.connect()
        await add(connection, "a")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy says that one should not
            del connection
            gc.collect()
        async with engine.begin() as connection:
            await add(connection, "b")
            assert (await connection.execute(select(users.c.name))).scalars().all() == ["b"]
        world.same(writes=1)

    play(story)


def test_in_memory_all_share_one_connection(replicas: Sequence[PeerProcess]) -> None:
    async def main() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with async_world_on(engine, Path(":memory:"), replicas) as world:
            async with engine.begin() as connection:
                await add(connection, "a")
            async with engine.connect() as connection:
                await add(connection, "b")
            assert await world.replicator.aflush(TIMEOUT)
            for process in replicas:
                assert process.client().rows("SELECT id, name FROM users") == [(1, "a")]

    asyncio.run(main())
