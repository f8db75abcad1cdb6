"""What becomes of a request's writes, by how the request ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, Response

from afterquery import ConfigurationError, Replicator
from afterquery.fastapi import (
    ReplicationMiddleware,
    RequestTransaction,
    current_transaction,
    get_replicator,
    get_transaction,
)
from replication.items import INSERT, Items, items
from support.serve import served


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Items]:
    with items(tmp_path_factory.mktemp("fastapi")) as world:
        yield world


@pytest.fixture
def world(shared: Items) -> Iterator[Items]:
    with shared.fresh() as world:
        yield world


class TeapotError(Exception):
    """Answered by a handler of the application."""


class BrokenError(Exception):
    """Answered by a handler of the application, with 500."""


def fail(error: Exception) -> Callable[[], Any]:
    def end() -> None:
        raise error

    return end


ENDS: dict[str, tuple[int, Callable[[], Any]]] = {
    "200": (200, lambda: {"fine": True}),
    "201": (201, lambda: Response(status_code=201)),
    "redirect": (307, lambda: Response(status_code=307, headers={"location": "/"})),
    "304": (304, lambda: Response(status_code=304)),
    "http-404": (404, fail(HTTPException(404))),
    "handled-418": (418, fail(TeapotError())),
    "499": (499, lambda: Response(status_code=499)),
    "500": (500, lambda: Response(status_code=500)),
    "http-503": (503, fail(HTTPException(503))),
    "handled-500": (500, fail(BrokenError())),
    "raises": (500, fail(ZeroDivisionError())),
    "wrong-response": (500, lambda: object()),
}


def application(world: Items, end: Callable[[], Any], commit: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(ReplicationMiddleware, replicator=world.replicator, commit=commit)

    @app.exception_handler(TeapotError)
    async def teapot(_: Request, __: Exception) -> Response:
        return Response(status_code=418)

    @app.exception_handler(BrokenError)
    async def broken(_: Request, __: Exception) -> Response:
        return Response(status_code=500)

    @app.get("/sync")
    def in_a_thread() -> Any:
        world.add("a", "b")
        world.add("c")
        return end()

    @app.get("/async")
    async def in_the_loop() -> Any:
        world.add("a", "b")
        world.add("c")
        return end()

    return app


@pytest.mark.parametrize("path", ["/sync", "/async"])
@pytest.mark.parametrize("end", ENDS)
def test_at_once_everything_committed_is_submitted(world: Items, end: str, path: str) -> None:
    status, ending = ENDS[end]
    with served(application(world, ending, "immediate")) as url:
        assert httpx.get(url + path).status_code == status
    assert world.replicated() == ["a", "b", "c"]
    world.same()
    assert world.dropped() == 0


@pytest.mark.parametrize("path", ["/sync", "/async"])
@pytest.mark.parametrize("end", ENDS)
def test_with_the_request_it_depends_on_the_end(world: Items, end: str, path: str) -> None:
    status, ending = ENDS[end]
    with served(application(world, ending, "request")) as url:
        assert httpx.get(url + path).status_code == status
    if status < 500:
        world.same()
        assert world.replicator.stats().writes == 2
        assert world.dropped() == 0
    else:
        assert world.replicated() == []
        assert world.replicator.stats().writes == 0
        assert world.dropped() == 3


def test_nothing_is_submitted_before_the_response_starts(world: Items) -> None:
    seen: list[int] = []
    app = FastAPI()
    app.add_middleware(ReplicationMiddleware, replicator=world.replicator, commit="request")

    @app.get("/")
    async def both() -> None:
        world.add("a")
        seen.append(world.replicator.stats().writes)
        world.replicator.after_query(INSERT, ("by hand",), world.primary.run(INSERT, ("by hand",)))
        seen.append(world.replicator.stats().writes)

    with served(app) as url:
        assert httpx.get(url).status_code == 200
    # What does not go through an integration goes at once.
    assert seen == [0, 1]
    assert world.replicated() == ["by hand", "a"]


@pytest.mark.parametrize("commit", ["immediate", "request"])
def test_told_by_hand_it_is_one_write_of_the_request(world: Items, commit: Any) -> None:
    app = FastAPI()
    app.add_middleware(ReplicationMiddleware, replicator=world.replicator, commit=commit)

    def tell(transaction: RequestTransaction, name: str) -> None:
        transaction.after_query(INSERT, (name,), world.primary.run(INSERT, (name,)))

    @app.post("/{status}")
    async def write(
        status: int,
        transaction: Annotated[RequestTransaction, Depends(get_transaction)],
        replicator: Annotated[Replicator, Depends(get_replicator)],
    ) -> Response:
        assert replicator is world.replicator
        assert transaction is current_transaction()
        world.primary.run("BEGIN")
        tell(transaction, f"a{status}")
        world.primary.run("ROLLBACK")
        transaction.rollback()
        world.primary.run("BEGIN")
        tell(transaction, f"b{status}")
        many = [(f"c{status}",), (f"d{status}",)]
        transaction.after_query(INSERT, many, world.primary.run(INSERT, many, many=True), many=True)
        world.primary.run("COMMIT" if status < 500 else "ROLLBACK")
        assert replicator.stats().writes == 0
        return Response(status_code=status)

    with served(app) as url:
        assert httpx.post(url + "/503").status_code == 503
        assert world.dropped() == 4
        assert httpx.post(url + "/201").status_code == 201
    assert world.replicator.stats().writes == 1
    assert world.replicated() == ["b201", "c201", "d201"]
    world.same()


def test_wrong_settings_are_refused() -> None:
    app = FastAPI()
    wrongs: list[dict[str, Any]] = [
        {"commit": "later"},
        {"position_header": "a b"},
        {"replicator": 5},
    ]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            ReplicationMiddleware(app, **wrong)


def test_outside_of_a_request_there_is_nothing() -> None:
    with pytest.raises(RuntimeError, match="no request"):
        current_transaction()


def test_without_a_replicator_requests_still_work(world: Items) -> None:
    app = FastAPI()
    app.add_middleware(ReplicationMiddleware, commit="request", position_header="x-position")

    @app.get("/")
    async def write() -> None:
        world.add("a")

    @app.get("/needs-it")
    async def needs(replicator: Annotated[Replicator, Depends(get_replicator)]) -> None:
        raise AssertionError(replicator)

    with served(app) as url:
        # An integration brings its own.
        assert httpx.get(url).status_code == 200
        assert httpx.get(url + "/needs-it").status_code == 500
    world.same()


def test_no_framework_is_needed() -> None:
    program = """
import sys
sys.modules |= {"fastapi": None, "starlette": None, "django": None, "anyio": None}
import afterquery.fastapi, afterquery.position
app = afterquery.fastapi.ReplicationMiddleware(print)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
