"""Requests that are not simply asked and answered."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import websockets.sync.client
from fastapi import BackgroundTasks, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

import afterquery.sqlite3
from afterquery import _scope
from afterquery._failures import Failures
from afterquery.fastapi import ReplicationMiddleware, current_transaction
from replication.items import INSERT, Items, items
from support.serve import served
from support.until import until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Items]:
    with items(tmp_path_factory.mktemp("requests")) as world:
        yield world


@pytest.fixture
def world(shared: Items) -> Iterator[Items]:
    with shared.fresh() as world:
        yield world


def replicated_app(world: Items, **settings: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        ReplicationMiddleware,
        replicator=world.replicator,
        **{"commit": "request", **settings},
    )
    return app


def test_a_stream_is_passed_on_piece_by_piece_and_its_writes_go_at_once(world: Items) -> None:
    app = replicated_app(world)
    read_first = threading.Event()
    writes: list[int] = []

    async def pieces() -> AsyncIterator[str]:
        writes.append(world.replicator.stats().writes)
        yield "one "
        await asyncio.to_thread(read_first.wait, 30)
        world.add("while it streams")
        writes.append(world.replicator.stats().writes)
        yield "two"

    @app.get("/")
    async def stream() -> StreamingResponse:
        world.add("before")
        return StreamingResponse(pieces())

    with served(app) as url, httpx.stream("GET", url) as response:
        text = response.iter_text()
        assert next(text) == "one "
        read_first.set()
        assert "".join(text) == "two"
    assert writes == [1, 2]
    world.same()


def test_an_exception_after_the_start_takes_nothing_back(world: Items) -> None:
    app = replicated_app(world)

    async def pieces() -> AsyncIterator[str]:
        yield "one"
        raise ZeroDivisionError

    @app.get("/")
    async def stream() -> StreamingResponse:
        world.add("told the client")
        return StreamingResponse(pieces())

    with served(app) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url)
    world.same()
    assert world.dropped() == 0


def test_a_client_that_goes_away_takes_nothing_with_it(world: Items) -> None:
    app = replicated_app(world)
    gone = threading.Event()

    @app.get("/")
    async def slow() -> str:
        world.add("committed")
        await asyncio.to_thread(gone.wait, 30)
        return "nobody listens"

    with served(app) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(url, timeout=0.2)
        assert world.replicator.stats().writes == 0
        gone.set()
    world.same()


@pytest.mark.parametrize("status", [200, 500])
def test_background_tasks_write_at_once(world: Items, status: int) -> None:
    app = replicated_app(world)

    def in_a_thread() -> None:
        world.add("thread")

    async def in_the_loop() -> None:
        world.add("loop")
        current_transaction().after_query(INSERT, ("hand",), world.primary.run(INSERT, ("hand",)))

    @app.get("/")
    async def respond(background: BackgroundTasks) -> Response:
        world.add("request")
        background.add_task(in_a_thread)
        background.add_task(in_the_loop)
        return Response(status_code=status, background=background)

    with served(app) as url:
        assert httpx.get(url).status_code == status
    expected = ["thread", "loop", "hand"]
    assert world.replicated() == (["request", *expected] if status == 200 else expected)
    assert world.dropped() == (0 if status == 200 else 1)


def test_a_task_that_outlives_its_request_writes_at_once(world: Items) -> None:
    app = replicated_app(world)
    answered = threading.Event()
    tasks: list[asyncio.Task[None]] = []

    async def later() -> None:
        world.add("in time")
        await asyncio.to_thread(answered.wait, 30)
        world.add("late")

    @app.get("/")
    async def start() -> None:
        tasks.append(asyncio.create_task(later()))
        while not world.names():
            await asyncio.sleep(0)
        assert world.replicator.stats().writes == 0

    with served(app) as url:
        assert httpx.get(url).status_code == 200
        assert world.replicator.stats().writes == 1
        answered.set()
        until(lambda: len(world.names()) == 2)
    world.same()


def test_a_websocket_writes_at_once(world: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    app = replicated_app(world)

    @app.websocket("/")
    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            world.add(text)
            hand = f"{text} by hand"
            current_transaction().after_query(INSERT, (hand,), world.primary.run(INSERT, (hand,)))
            await socket.send_text(str(world.replicator.stats().writes))

    with (
        served(app) as url,
        websockets.sync.client.connect(url.replace("http", "ws")) as client,
    ):
        for n, text in enumerate(("one", "two"), 1):
            client.send(text)
            assert client.recv(30) == str(2 * n)
    world.same()


def test_the_lifespan_passes_through(world: Items) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for name in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{name}"
            seen.append(name)
            await send({"type": f"lifespan.{name}.complete"})

    with served(ReplicationMiddleware(app, replicator=world.replicator), lifespan="on"):
        assert seen == ["startup"]
    assert seen == ["startup", "shutdown"]


def test_an_application_that_does_not_answer_has_failed(world: Items) -> None:
    async def silent(*_: Any) -> None:
        world.add("a")

    app = ReplicationMiddleware(silent, replicator=world.replicator, commit="request")
    with served(app) as url:
        assert httpx.get(url).status_code == 500
    assert world.dropped() == 1


@pytest.mark.parametrize(("outer", "inner"), [(200, 200), (200, 500), (500, 200)])
def test_of_two_scopes_the_outer_one_decides_last(world: Items, outer: int, inner: int) -> None:
    """The inner one of a mounted application, whose status the outer one may replace."""

    async def endpoint(_: Request) -> Response:
        world.add("a")
        return PlainTextResponse("", inner)

    async def replace(request: Request, call_next: Any) -> Response:
        await call_next(request)
        assert world.replicator.stats().writes == 0
        return PlainTextResponse("", outer)

    class Replace(BaseHTTPMiddleware):
        dispatch = staticmethod(replace)

    scoped = ReplicationMiddleware(
        Starlette(routes=[Route("/", endpoint)]), replicator=world.replicator, commit="request"
    )
    app = Starlette(routes=[Mount("/sub", app=scoped)])
    app.add_middleware(Replace)
    app.add_middleware(ReplicationMiddleware, replicator=world.replicator, commit="request")
    with served(app) as url:
        assert httpx.get(url + "/sub/").status_code == outer
    kept = outer == inner == 200
    assert world.replicated() == (["a"] if kept else [])
    assert world.dropped() == (0 if kept else 1)


@pytest.mark.parametrize(("outer", "inner"), [("immediate", "request"), ("request", "immediate")])
def test_either_of_two_scopes_holds(world: Items, outer: Any, inner: Any) -> None:
    app = replicated_app(world, commit=inner)
    app.add_middleware(ReplicationMiddleware, replicator=world.replicator, commit=outer)

    @app.get("/{status}")
    async def endpoint(status: int) -> Response:
        world.add(f"a{status}")
        assert world.replicator.stats().writes == 0
        return Response(status_code=status)

    with served(app) as url:
        httpx.get(url + "/500")
        httpx.get(url + "/200")
    assert world.replicated() == ["a200"]


def test_requests_at_the_same_time_keep_their_writes_apart(world: Items) -> None:
    """200 at once, each from the loop, from threads and from tasks; every third one fails."""
    app = replicated_app(world, position_header="x-position")
    count = 200
    waiting: list[int] = []

    @app.get("/{number}")
    async def endpoint(number: int) -> Response:
        world.add(f"{number} loop")
        waiting.append(number)
        while len(waiting) < count:
            await asyncio.sleep(0.01)
        await run_in_threadpool(world.add, f"{number} thread")
        await asyncio.gather(asyncio.create_task(task(number)), asyncio.to_thread(deep, number))
        return Response(status_code=503 if number % 3 == 0 else 200)

    async def task(number: int) -> None:
        await asyncio.sleep(0)
        world.add(f"{number} task")

    def deep(number: int) -> None:
        world.add(f"{number} to_thread")

    async def ask(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            return await asyncio.gather(*(client.get(f"{url}/{n}") for n in range(count)))

    with served(app) as url:
        responses = asyncio.run(ask(url))
    kept = [n for n in range(count) if n % 3]
    assert [r.status_code for r in responses] == [200 if n % 3 else 503 for n in range(count)]
    expected = {f"{n} {where}" for n in kept for where in ("loop", "thread", "task", "to_thread")}
    # Numbered in the order of the requests' ends, and so not by the primary's ids.
    found = world.replicated()
    assert sorted(found) == sorted(expected)
    assert world.dropped() == 4 * (count - len(kept))
    positions = [int(responses[n].headers["x-position"].split(":")[1]) for n in kept]
    assert sorted(positions) == [4 * n for n in range(1, len(kept) + 1)]


def test_each_request_keeps_the_order_in_which_it_wrote(world: Items) -> None:
    app = replicated_app(world)

    @app.get("/")
    async def endpoint() -> None:
        for number in range(50):
            await run_in_threadpool(world.add, f"{number}")

    with served(app) as url:
        assert httpx.get(url).status_code == 200
    world.same()
    assert world.replicated() == [str(n) for n in range(50)]


def test_an_error_of_ours_reaches_nobody(
    world: Items, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError

    app = replicated_app(world, position_header="x-position")

    @app.get("/")
    async def endpoint() -> str:
        transaction = world.replicator.transaction()
        world.add("a")
        # Ended twice: once behind the scope's back.
        _scope.submit(world.replicator, transaction)
        transaction.commit()
        world.add("b")
        return "fine"

    failures = Failures()
    for module in ("middleware", "scope"):
        monkeypatch.setattr(f"afterquery.fastapi.{module}.failures", failures)
    monkeypatch.setattr("afterquery.fastapi.asgi.with_header", broken)
    with served(app) as url, caplog.at_level(logging.ERROR, "afterquery"):
        response = httpx.get(url)
    assert (response.status_code, response.json()) == (200, "fine")
    assert sorted(failures.counts().values()) == [1, 1]
    assert len(caplog.records) == 2
    world.same()


@pytest.mark.parametrize("commit", ["immediate", "request"])
def test_with_the_sqlite3_integration(world: Items, commit: Any) -> None:
    """Threads commit to one file at the same time: each is told where its own write stands."""
    app = replicated_app(world, commit=commit, position_header="x-position")

    @app.get("/{number}")
    def endpoint(number: int) -> Response:
        path = world.primary.path
        db = afterquery.sqlite3.connect(path, replicator=world.replicator, timeout=60)
        try:
            with db:
                db.execute(INSERT, (f"{number} first",))
                db.execute(INSERT, (f"{number} second",))
            db.execute("BEGIN")
            db.execute(INSERT, (f"{number} rolled back",))
        finally:
            db.close()
        return Response(status_code=503 if number % 4 == 0 else 200)

    with served(app) as url, ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda n: httpx.get(f"{url}/{n}", timeout=60), range(40)))
    positions = [r.headers["x-position"] for r in responses if r.status_code == 200]
    assert len(set(positions)) == 30
    if commit == "immediate":
        world.same()
        assert world.replicator.stats().writes == 40
        assert all("x-position" in response.headers for response in responses)
    else:
        assert len(world.replicated()) == 60
        assert sorted(int(p.split(":")[1]) for p in positions) == list(range(1, 31))
