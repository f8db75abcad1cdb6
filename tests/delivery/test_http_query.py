"""Asking a replica from Python: where the token goes, how long it takes, how much is read."""

from __future__ import annotations

import time

import pytest

from afterquery.position import Position, http_query, is_applied, wait_until_applied
from support.hostile import Hostile, Reply, Request, Script, http

TOKEN = "s3cret-t0ken"
POSITION = Position("abc", 5)


def dripping(first: bytes, drop: bytes) -> Script:
    def drip(request: Request) -> Reply:
        request.connection.sendall(first)
        while True:
            request.connection.sendall(drop)
            time.sleep(0.02)

    return drip


def flood(first: bytes, again: bytes) -> Script:
    def send(request: Request) -> Reply:
        request.connection.sendall(first)
        while True:
            request.connection.sendall(again)

    return send


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_token_nowhere(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with Hostile(lambda _: (200, {"result": [{"seq": 99}]})) as thief:
        location = f"location: {thief.url}/query"
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, thief.url)
        with Hostile(lambda _: http(status, b"", location)) as server:
            with pytest.raises(OSError, match=f"HTTP {status}") as caught:
                is_applied(POSITION, http_query(server.url, auth_token=TOKEN))
            assert server.requests == 1
        assert thief.requests == 0
        assert TOKEN not in repr(caught.value)


@pytest.mark.parametrize(
    "script",
    [
        dripping(b"", b"H"),
        dripping(OK, b"x"),
        dripping(OK + b"content-length: 100000\r\n\r\n", b" "),
        dripping(OK + b"\r\n", b" "),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda _: time.sleep(5),
    ],
    ids=["status", "header", "body", "body without end", "100", "silence"],
)
def test_an_answer_that_drips_is_given_up_in_time(script: Script) -> None:
    with Hostile(script) as server:
        query = http_query(server.url, timeout=0.3)
        began = time.monotonic()
        with pytest.raises(OSError, match="time"):
            wait_until_applied(POSITION, query, timeout=0.3)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "script",
    [
        flood(OK + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 0x10000 + b"\r\n"),
        flood(OK + b"\r\n", b" " * 65_536),
        flood(OK, b"x-a: " + b"y" * 60_000 + b"\r\n"),
        flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        lambda _: http(200, b'{"result":[' + b" " * (1 << 20)),
    ],
    ids=["chunks", "body", "headers", "100", "just too long"],
)
def test_an_answer_that_is_too_long_is_not_read(script: Script) -> None:
    with Hostile(script) as server, pytest.raises(OSError, match=r"longer than|not HTTP"):
        http_query(server.url, timeout=20)("SELECT 1")


@pytest.mark.parametrize(
    "reply",
    [
        http(200, b"<html>"),
        http(200, b"[" * 100_000),
        http(200, b'{"a":' * 100_000),
        http(200, b'{"result": 5}'),
        http(200, b'{"result": [5]}'),
        http(200, b'{"error": "x"}'),
        http(200, b'{"result": [' + b"9" * 5_000 + b"]}"),
        http(204, b""),
        http(500, b'{"error":"\x1b[31m\r\nforged"}'),
        b"\x16\x03\x01\x02",
        b"HTTP/1.1 200\r\ncontent-length: -1\r\n\r\n",
        None,
    ],
)
def test_what_is_no_answer_is_an_error_on_one_line(reply: Reply) -> None:
    with Hostile(lambda _: reply) as server:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - which one is the point
            http_query(server.url, auth_token=TOKEN)("SELECT 1")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 3_000


@pytest.mark.parametrize("seq", ["9", 9.5, None, {}, [9]])
def test_a_watermark_is_a_number(seq: object) -> None:
    answer = (200, {"result": [{"seq": seq}]})
    with Hostile(lambda _: answer) as server, pytest.raises(ValueError, match="not a number"):
        is_applied(POSITION, http_query(server.url))


@pytest.mark.parametrize(
    ("url", "token"),
    [
        (f"http://u:{TOKEN}@h", None),
        (f"http://{TOKEN}@h", None),
        (f"http://h/?token={TOKEN}", None),
        (f"http://h/#{TOKEN}", None),
        (f"http://h:{TOKEN}", None),
        (f"{TOKEN}", None),
        (f"http://h\r\nx: {TOKEN}", None),
        ("http://h", f"{TOKEN}\r\nx: y"),
        ("http://h", f"{TOKEN}\udc80"),
        ("http://", None),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(url: str, token: str | None) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        http_query(url, auth_token=token)
    assert TOKEN not in repr(caught.value)


def test_an_honest_replica_is_asked_with_the_token() -> None:
    with Hostile(lambda _: (200, {"result": [{"seq": 5}]})) as server:
        assert is_applied(POSITION, http_query(server.url + "/", auth_token=TOKEN))
        assert all(f"Bearer {TOKEN}".encode() in head for head in server.heads)
        assert server.heads[0].startswith(b"POST /query HTTP/1.1\r\n")
