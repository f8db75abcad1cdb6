"""`afterquery.aiosqlite`: what an asyncio application commits reaches the replicas."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import aiosqlite
import pytest

import afterquery.aiosqlite
from afterquery import Replicator, Transaction, _scope
from replication.world import Primary, assert_same, connect, prepare
from support.peer import PeerProcess

SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, name UNIQUE, n DEFAULT 0)"
USER = "INSERT INTO users (name) VALUES (?)"


@dataclass
class World:
    primary: Primary
    peer: PeerProcess
    replicator: Replicator

    def open(self, **settings: Any) -> afterquery.aiosqlite.Connection:
        path = self.primary.path
        return afterquery.aiosqlite.connect(path, replicator=self.replicator, **settings)

    def same(self, writes: int) -> None:
        assert self.replicator.flush(30)
        assert_same(self.primary, self.peer)
        assert self.replicator.stats().writes == writes


@pytest.fixture
def world(peer: PeerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("primary") / "p.db"
    prepare(SCHEMA, peer)
    with Primary(path, f"PRAGMA journal_mode = WAL; {SCHEMA}") as primary, connect(peer) as found:
        yield World(primary, peer, found)


def test_what_commits_and_only_that(world: World) -> None:
    async def application() -> None:
        async with world.open() as db:
            assert isinstance(db, aiosqlite.Connection)
            assert db.replication is None
            await db.execute(USER, ("Ada",))
            await db.executemany(USER, ((name,) for name in "abc"))
            await db.commit()
            assert db.replication is not None
            assert [outcome.status for outcome in await db.replication] == ["fulfilled"]
            await db.execute(USER, ("never",))
            await db.rollback()
            with pytest.raises(sqlite3.IntegrityError):
                await db.execute(USER, ("Ada",))
            async with db.cursor() as cursor:
                await cursor.execute("SAVEPOINT s")
                await cursor.execute(USER, ("nor this",))
                await cursor.execute("ROLLBACK TO s")
                await cursor.execute("RELEASE s")
                await cursor.execute(USER, ("Eve",))
            await db.executescript("INSERT INTO users (name) VALUES ('script')")
            await db.execute(USER, ("open at the end",))

    asyncio.run(application())
    world.same(writes=3)


def test_autocommit(world: World) -> None:
    async def application() -> None:
        async with world.open(isolation_level=None) as db:
            row = await db.execute_insert(USER, ("Ada",))
            assert row is not None
            assert tuple(row) == (1,)
            sql = "INSERT INTO users (name) VALUES ('a'), ('b') RETURNING name"
            rows = await db.execute_fetchall(sql)
            assert [tuple(row) for row in rows] == [("a",), ("b",)]
            async with db.execute("INSERT INTO users (name) VALUES ('c') RETURNING name") as found:
                assert [row async for row in found] == [("c",)]

    asyncio.run(application())
    world.same(writes=3)


def test_two_event_loops(world: World) -> None:
    """Each in a thread, with connections of its own, all to the same rows."""

    async def task(name: str) -> None:
        async with world.open(isolation_level="IMMEDIATE", timeout=60) as db:
            for number in range(15):
                await db.execute(USER, (f"{name} {number}",))
                await db.execute("UPDATE users SET n = (n * 31 + ?) % 1000003", (number,))
                await (db.rollback() if number % 5 == 0 else db.commit())

    async def application(name: str) -> None:
        await asyncio.gather(*(task(f"{name} {number}") for number in range(3)))

    with ThreadPoolExecutor(2) as pool:
        for running in [pool.submit(asyncio.run, application(name)) for name in ("a", "b")]:
            running.result(100)
    world.same(writes=2 * 3 * 12)


class Request:
    """A request that keeps what is written in it."""

    def __init__(self) -> None:
        self.held: list[Transaction] = []

    def hold(self, _: Replicator, transaction: Transaction) -> bool:
        self.held.append(transaction)
        return True


def test_a_statement_belongs_to_the_request_that_awaits_it(world: World) -> None:
    """Though the thread of the connection runs it."""

    async def handler(db: aiosqlite.Connection, name: str) -> Request:
        request = Request()
        _scope.current.set(request)
        await db.execute(USER, (name,))
        return request

    async def application() -> None:
        async with world.open(isolation_level=None) as db:
            names = ("a", "b", "c")
            tasks = [asyncio.create_task(handler(db, name)) for name in names]
            requests = await asyncio.gather(*tasks)
            assert [len(request.held) for request in requests] == [1, 1, 1]
            assert world.replicator.stats().writes == 0
            await db.execute(USER, ("outside",))
            assert world.replicator.stats().writes == 1
            for request in requests:
                request.held[0].commit()

    asyncio.run(application())
    assert world.replicator.flush(30)
    assert world.replicator.stats().writes == 4


def test_a_connection_that_is_not_open(world: World) -> None:
    db = world.open()
    with pytest.raises(ValueError, match="no active connection"):
        _ = db.replication
