"""The position of a request's write, and waiting for it: in the process, and at a replica."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from afterquery import Replicator, UnknownReplicaError
from afterquery.fastapi import (
    ReplicationMiddleware,
    current_transaction,
    get_replicator,
    lifespan,
    wait_for_replicas,
)
from afterquery.position import Position, Query, http_query, is_applied, wait_until_applied
from replication.items import INSERT, Items, items
from replication.world import connect, fulfilled, of, replica, until
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN, CLIENT_TOKEN
from support.serve import served


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Items]:
    with items(tmp_path) as world, world.fresh():
        yield world


def test_the_text_of_a_position() -> None:
    position = Position("6b1c3d1e-0000-4000-8000-000000000001", 17)
    assert str(position) == "6b1c3d1e-0000-4000-8000-000000000001:17"
    assert Position.parse(f" {position} ") == position
    assert Position.parse_all(f"{position}, ab:2") == [position, Position("ab", 2)]
    assert Position.parse("shop-EU:3") == Position("shop-EU", 3)
    for wrong in ("", "17", ":17", "x':17", f"{position}, ", "ab:-1", "ab:1.5", "ab:" + "9" * 19):
        with pytest.raises(ValueError, match="origin:seq"):
            Position.parse(wrong)


@pytest.mark.parametrize("commit", ["immediate", "request"])
def test_the_header_names_the_last_write_of_the_request(world: Items, commit: Any) -> None:
    app = FastAPI()
    app.add_middleware(
        ReplicationMiddleware,
        replicator=lambda: world.replicator,
        commit=commit,
        position_header="X-Position",
    )

    @app.get("/{count}")
    def write(count: int) -> Response:
        for number in range(count):
            world.add(f"{count} {number}")
        # The middleware knows better.
        return Response(headers={"x-position": "wrong"} if count else {})

    @app.get("/by/hand")
    async def by_hand() -> None:
        cursor = world.primary.run(INSERT, ("hand",))
        current_transaction().after_query(INSERT, ("hand",), cursor)

    with served(app) as url:
        headers = [httpx.get(f"{url}/{path}").headers for path in ("0", "3", "2", "by/hand", "0")]
    expected = [None, *(f"{world.replicator.origin}:{seq}" for seq in (3, 5, 6)), None]
    assert [found.get("x-position") for found in headers] == expected
    assert all(len(found.get_list("x-position")) <= 1 for found in headers)
    world.same()


def test_writes_of_two_origins_are_both_named(world: Items) -> None:
    app = FastAPI()
    app.add_middleware(ReplicationMiddleware, position_header="x-position")

    @app.get("/")
    async def write() -> None:
        world.add("a")
        first = world.replicator
        with connect(*world.replicas) as world.replicator:
            world.add("b")
            origins.append(world.replicator.origin)
        world.replicator = first

    origins: list[str] = []
    with served(app) as url:
        text = httpx.get(url).headers["x-position"]
    assert text == f"{world.replicator.origin}:1, {origins[0]}:1"
    assert len(Position.parse_all(text)) == 2


def test_waiting_in_the_process(world: Items) -> None:
    first, second = world.replicas
    world.add("a")
    position = f"{world.replicator.origin}:1"

    async def wait(position: str, timeout: float, *names: str) -> bool:
        return await wait_for_replicas(
            position, replicator=world.replicator, replicas=names or None, timeout=timeout
        )

    assert asyncio.run(wait(position, 30))
    second.kill()
    world.add("b")
    position = f"{world.replicator.origin}:2"
    assert asyncio.run(wait(position, 30, first.name))
    assert not asyncio.run(wait(position, 0.05))
    again = threading.Timer(0.05, second.start)
    again.start()
    assert asyncio.run(wait(position, 30))
    again.join()
    world.same()
    # Not given out by this process: nothing to wait for.
    for unknown in (f"{world.replicator.origin}:3", "ab:1", "nonsense", ""):
        assert not asyncio.run(wait(unknown, 3600))
    with pytest.raises(UnknownReplicaError, match="nobody"):
        asyncio.run(wait(position, 1, "nobody"))


def test_a_replica_that_does_not_get_the_write_is_not_waited_for(world: Items) -> None:
    first, second = world.replicas
    with connect(first, replica(second, tables=["others"])) as replicator:
        fulfilled(replicator.after_query(INSERT, ("a",)))
        wait = wait_for_replicas(f"{replicator.origin}:1", replicator=replicator, timeout=30)
        assert asyncio.run(wait)


def test_a_replica_that_gets_nothing_has_not_settled_it(world: Items) -> None:
    first, second = world.replicas
    with connect(first, replica(second, max_lag_writes=2)) as replicator:
        second.kill()
        for name in "abcde":
            replicator.after_query(INSERT, (name,))
        until(lambda: of(replicator, second.name).state == "detached", "it is detached")
        position = f"{replicator.origin}:5"

        async def wait(*names: str) -> bool:
            return await wait_for_replicas(
                position, replicator=replicator, replicas=names, timeout=0.1
            )

        assert not asyncio.run(wait(second.name))
        until(lambda: asyncio.run(wait(first.name)), "the other has it")
        second.start()


def queries(process: PeerProcess) -> Iterator[Query]:
    yield http_query(process.url + "/", auth_token=CLIENT_TOKEN)
    with closing(sqlite3.connect(process.db)) as db:
        yield lambda sql: db.execute(sql).fetchall()


def test_waiting_at_a_replica(world: Items, tmp_path: Path) -> None:
    with PeerProcess(tmp_path / "late") as late:
        for query in queries(late):
            # No replicator has been here yet.
            assert not is_applied(Position(world.replicator.origin, 1), query)
        late.client().run("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
        with connect(late) as replicator:
            fulfilled(replicator.after_query(INSERT, ("a",)))
            for query in queries(late):
                assert wait_until_applied(Position(replicator.origin, 1), query, timeout=30)
                assert not wait_until_applied(Position(replicator.origin, 2), query, timeout=0.02)
                assert not is_applied(Position("ab", 1), query)
            again = threading.Timer(0.05, replicator.after_query, (INSERT, ("b",)))
            again.start()
            query = http_query(late.url, auth_token=CLIENT_TOKEN)
            assert wait_until_applied(Position(replicator.origin, 2), query, timeout=30)
            again.join()
            assert late.client().value("SELECT count(*) FROM items") == 2


def test_a_position_cannot_carry_sql(world: Items) -> None:
    query = http_query(world.replicas[0].url, auth_token=ADMIN_TOKEN)
    with pytest.raises(ValueError, match="origin:seq"):
        is_applied(Position("x'; DROP TABLE items; --", 1), query)
    with pytest.raises(ValueError, match="http"):
        http_query("file:///etc/passwd")


def test_a_refused_reader_is_told(world: Items) -> None:
    query = http_query(world.replicas[0].url, auth_token="wrong")
    with pytest.raises(OSError, match="HTTP 4"):
        is_applied(Position("ab", 1), query)


def test_the_lifespan_starts_and_drains_and_keeps_the_applications_own(world: Items) -> None:
    made: list[Replicator] = []
    seen: list[object] = []

    def make() -> Replicator:
        made.append(connect(*world.replicas))
        world.replicator = made[-1]
        return made[-1]

    @asynccontextmanager
    async def own(app: FastAPI) -> Any:
        seen.extend([app, await get_replicator()])
        world.add("at the start")
        yield {"mine": 5}
        world.add("at the end")

    app = FastAPI(lifespan=lifespan(make, own))
    app.add_middleware(ReplicationMiddleware)

    @app.get("/")
    async def look(request: Request) -> None:
        seen.extend([request.state.mine, request.state.afterquery])
        transaction = current_transaction()
        transaction.after_query(INSERT, ("request",), world.primary.run(INSERT, ("request",)))

    assert not made
    with served(app, lifespan="on") as url:
        assert httpx.get(url).status_code == 200
    assert seen == [app, made[0], 5, made[0]]
    (replicator,) = made
    assert {stats.state for stats in replicator.stats().replicas} == {"closed"}
    for process in world.replicas:
        rows = process.client().rows("SELECT name FROM items ORDER BY id")
        assert rows == [("at the start",), ("request",), ("at the end",)]


def test_the_lifespan_ends_the_replicator_when_the_application_cannot_start(world: Items) -> None:
    @asynccontextmanager
    async def broken(_: FastAPI) -> Any:
        world.add("a")
        raise ZeroDivisionError
        yield

    async def start() -> None:
        async with lifespan(world.replicator, broken)(FastAPI()):
            raise AssertionError("it started")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(start())
    assert {stats.state for stats in world.replicator.stats().replicas} == {"closed"}
    for process in world.replicas:
        assert process.client().rows("SELECT name FROM items") == [("a",)]
