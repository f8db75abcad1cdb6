"""The peer as an ASGI application: mounting, limits, life and end."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterquery._errors import ConfigurationError
from afterquery.peer import Peer
from support.asgi import Message, ask, call
from support.peer import locked
from support.process import ADMIN_TOKEN, CLIENT_TOKEN

ONE = b'{"sql": "SELECT 1 AS a"}'
SLOW = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)"
    " INSERT INTO t SELECT count(*) FROM n"
)


def query(sql: str) -> bytes:
    return json.dumps({"sql": sql}).encode()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(
        tmp_path / "copy.db",
        admin_token=ADMIN_TOKEN,
        client_token=CLIENT_TOKEN,
        max_body_bytes=1_000,
    )
    yield peer
    peer.close()


@pytest.mark.parametrize(
    ("path", "root_path", "status"),
    [
        ("/query", "", 200),
        ("/replica/query", "/replica", 200),
        ("/replica/query/raw", "/replica", 200),
        ("/replica/query", "/replica/", 200),
        # Older Starlette versions cut the prefix off the path.
        ("/query", "/replica", 200),
        ("/replica/query/", "/replica", 404),
        ("/replicaquery", "/replica", 404),
        ("/replica/replica/query", "/replica", 404),
    ],
)
def test_the_path_below_the_mount_counts(
    peer: Peer, path: str, root_path: str, status: int
) -> None:
    assert ask(peer, ONE, path=path, root_path=root_path).status == status


def test_mounted_in_a_fastapi_application(peer: Peer) -> None:
    fastapi = pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    app = fastapi.FastAPI()
    app.mount("/replica", peer)

    async def requests() -> None:
        transport = httpx.ASGITransport(app=app)
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", headers=headers
        ) as client:
            body = {"sql": "CREATE TABLE t (a); INSERT INTO t VALUES (7)"}
            assert (await client.post("/replica/query", json=body)).status_code == 200
            assert (await client.post("/replica/query/", json=body)).status_code == 404

    asyncio.run(requests())
    with sqlite3.connect(peer.path) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]
    connection.close()


def test_a_body_in_many_parts(peer: Peer) -> None:
    parts = [ONE[i : i + 3] for i in range(0, len(ONE), 3)]
    answer = asyncio.run(call(peer, parts))
    assert answer is not None
    assert answer.result == [{"a": 1}]


def test_a_body_that_is_announced_too_large_is_not_read(peer: Peer) -> None:
    answer = asyncio.run(call(peer, [], headers={"content-length": "1001"}, whole=False))
    assert answer is not None
    assert (answer.status, answer.error) == (413, "The body is larger than 1000 bytes.")


def test_a_body_that_turns_out_too_large_is_not_read_to_its_end(peer: Peer) -> None:
    read = 0

    def parts() -> Iterator[bytes]:
        nonlocal read
        for _ in range(10):
            read += 1
            yield b" " * 400

    class Lazy:
        def __init__(self) -> None:
            self.parts = parts()

    lazy = Lazy()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": next(lazy.parts), "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [
        (b"authorization", f"Bearer {ADMIN_TOKEN}".encode()),
        (b"content-type", b"application/json"),
    ]
    scope = {"type": "http", "method": "POST", "path": "/query", "headers": headers}
    asyncio.run(peer(scope, receive, send))
    assert sent[0]["status"] == 413
    assert read == 3


def test_a_sender_that_goes_away_early_changes_nothing(peer: Peer) -> None:
    body = query("CREATE TABLE t (a)")
    assert asyncio.run(call(peer, [body[:10]], whole=False)) is None
    assert ask(peer, query("SELECT name FROM sqlite_schema")).result == []


def test_a_body_is_not_read_for_a_wrong_token(peer: Peer) -> None:
    answer = asyncio.run(
        call(peer, [], headers={"authorization": "Bearer no", "content-length": "9999"})
    )
    assert answer is not None
    assert answer.status == 400


def test_a_web_socket_is_closed(peer: Peer) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(peer({"type": "websocket", "path": "/query"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1000}]


def test_its_life_span_ends_with_the_file_closed(peer: Peer) -> None:
    events = ["lifespan.startup", "lifespan.shutdown"]
    sent: list[Message] = []
    ask(peer, query("CREATE TABLE t (a)"))
    log = peer.path.with_name(peer.path.name + "-wal")
    assert log.exists()

    async def receive() -> Message:
        return {"type": events.pop(0)}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(peer({"type": "lifespan"}, receive, send))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert not log.exists()


def test_it_opens_again_after_close(peer: Peer) -> None:
    ask(peer, query("CREATE TABLE t (a)"))
    peer.close()
    assert ask(peer, query("SELECT name FROM sqlite_schema")).result == [{"name": "t"}]


def test_the_event_loop_goes_on_while_a_write_runs(peer: Peer) -> None:
    async def both() -> list[str]:
        order = []

        async def write() -> None:
            await call(peer, [query(SLOW)])
            order.append("write")

        async def read() -> None:
            await call(peer, [ONE])
            order.append("read")

        await call(peer, [query("CREATE TABLE t (a)")])
        writing = asyncio.create_task(write())
        await asyncio.sleep(0)
        await asyncio.gather(writing, read())
        return order

    assert asyncio.run(both()) == ["read", "write"]


def test_a_write_that_has_begun_is_applied_although_it_is_cancelled(peer: Peer) -> None:
    async def cancelled() -> None:
        await call(peer, [query("CREATE TABLE t (a)")])
        task = asyncio.create_task(call(peer, [query(SLOW)]))
        while not locked(peer.path):
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    peer.close()
    assert ask(peer, query("SELECT count(*) AS n FROM t")).result == [{"n": 1}]


def test_tokens_are_shown_nowhere(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        ask(peer, ONE, headers={"authorization": "Bearer wrong"}).body,
        ask(peer, b"{").body,
        repr(peer),
        repr(peer._tokens),
        caplog.text,
    ]
    for text in answers:
        assert ADMIN_TOKEN not in text
        assert CLIENT_TOKEN not in text


def test_an_unforeseen_failure_is_logged_and_says_nothing(
    peer: Peer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(peer._database, "submit", fail)
    answer = ask(peer, ONE)
    assert (answer.status, answer.error) == (500, "internal error")
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"admin_token": ""}, "admin_token is empty"),
        ({"client_token": ""}, "client_token is empty"),
        ({"max_body_bytes": 0}, "must be 1 or more"),
        ({"max_sql_bytes": 0}, "must be 1 or more"),
        ({"synchronous": "OFF"}, "synchronous is FULL or NORMAL"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Peer(tmp_path / "copy.db", **{"admin_token": "t"} | settings)  # type: ignore[arg-type]


def test_without_a_client_token_only_the_admin_comes_in(tmp_path: Path) -> None:
    peer = Peer(tmp_path / "copy.db", admin_token=ADMIN_TOKEN)
    try:
        assert ask(peer, ONE).status == 200
        assert ask(peer, ONE, headers={"authorization": f"Bearer {CLIENT_TOKEN}"}).status == 400
    finally:
        peer.close()
