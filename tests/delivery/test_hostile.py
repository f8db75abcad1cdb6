"""A replica that lies, floods, drips and shouts harms nobody but itself."""

from __future__ import annotations

import gzip
import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from afterquery import Replica, Replicator
from replication.world import connect, of, prepare, until
from support.hostile import NEW, Hostile, Liar, Reply, Request, Row, Script, http, saying
from support.peer import PeerProcess

INSERT = "INSERT INTO t VALUES (?)"
GUARD = "NOT NULL constraint failed: tmp_afterquery_watermark.seq: SQLITE_CONSTRAINT"
SHOUT = "x\nCRITICAL root \x1b[31mred\x07\u202e" + "A" * 900_000


def error(status: int, message: str) -> Reply:
    return (status, {"error": message})


def always(reply: Reply) -> Script:
    return lambda _: reply


def text(reply: Reply) -> Script:
    """Honest but for what it answers to a text, which it says has run."""
    return Liar(lambda *_: reply)


def consistent(lie: Callable[[Request, Row], Reply]) -> Script:
    """The lie is told again when the row is read."""
    liar = Liar(lie)

    def script(request: Request) -> Reply:
        return lie(request, dict(liar.row)) if request.kind == "question" else liar(request)

    return script


def unmoved(reply: Reply) -> Script:
    """The same, and nothing has run."""
    return lambda request: (
        reply
        if request.kind == "text"
        else (200, {"result": [NEW] if request.kind != "other" else []})
    )


def endless(first: bytes, again: bytes) -> Script:
    """Never stops sending."""

    def flood(request: Request) -> Reply:
        request.connection.sendall(b"HTTP/1.1 200 OK\r\n" + first)
        while True:
            request.connection.sendall(again)

    return flood


def dripping(first: bytes, drop: bytes) -> Script:
    def drip(request: Request) -> Reply:
        request.connection.sendall(b"HTTP/1.1 200 OK\r\n" + first)
        while True:
            request.connection.sendall(drop)
            time.sleep(0.02)

    return drip


CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b'{"result":[' + b" " * 10**8)

NEVER_DELIVERED: dict[str, Script] = {
    "unavailable": always(error(503, "x")),
    "retry at once": always(http(503, b"", "retry-after: 0")),
    "guard": unmoved(error(500, GUARD)),
    "internal": unmoved(error(500, "internal error")),
    "says it ran, without a row": unmoved((200, {"result": []})),
    "says nothing was done": consistent(saying(seq=0, changes="")),
    "another chain": consistent(saying(chain=5)),
    "a row too many": consistent(lambda _, row: (200, {"result": [row, row]})),
    "no numbers": consistent(saying(seq="1")),
    "floats": consistent(saying(seq=1.0)),
    "negative": consistent(saying(seq=-1)),
    "null": consistent(saying(step=None)),
    "deep": always(http(200, b"[" * 1_000_000)),
    "a bomb": always(http(200, BOMB, "content-encoding: gzip")),
    "not UTF-8": always(http(200, b'{"result":"\xff"}')),
    "endless body": endless(CHUNKED, b"10000\r\n" + b" " * 0x10000 + b"\r\n"),
    "tiny chunks": endless(CHUNKED, b"1;ext=aaaaaaaaaaaaaa\r\n \r\n" * 2000),
    "endless headers": endless(b"", b"x-a: " + b"y" * 500 + b"\r\n"),
    "endless 100": always(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000),
    "dripping header": dripping(b"", b"x"),
    "dripping body": dripping(b"content-length: 100000\r\n\r\n", b" "),
    "longer than said": always(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" * 100),
    "two lengths": always(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "HTTP/1.0": always(b"HTTP/1.0 200 OK\r\n\r\n{}"),
    "no HTTP": always(b"\x16\x03\x01\x02\x00\x01"),
    "hangs up": always(None),
    "a redirect": always(http(302, b"", "location: /query")),
}


@pytest.fixture
def quick() -> Iterator[Callable[..., Replicator]]:
    with ExitStack() as stack:

        def make(*replicas: Replica | str, **settings: object) -> Replicator:
            given = {"retry_base": 0.05, "retry_max": 1.0, "request_timeout": 0.4} | settings
            made = connect(*replicas, **given)
            stack.callback(made.close, 0)
            return made

        yield make


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_nothing_that_gets_on_with_nothing_is_asked_in_a_loop(
    quick: Callable[..., Replicator], peer: PeerProcess
) -> None:
    """All of them at once, beside an honest one. Each is asked ever more rarely."""
    prepare("DROP TABLE IF EXISTS t; CREATE TABLE t (a)", peer)
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(Hostile(script)) for name, script in NEVER_DELIVERED.items()
        }
        replicas = [Replica(server.url, name=name) for name, server in servers.items()]
        replicator = quick(*replicas, peer)
        before = memory()
        writes = [replicator.after_query(INSERT, (n,)) for n in range(300)]
        began = time.monotonic()
        until(lambda: of(replicator, peer.name).pending == 0, "the honest one is served")
        until(lambda: time.monotonic() > began + 1.5, "they had their time")
        for name, server in servers.items():
            stats = of(replicator, name)
            # Exponential pauses from 0.05 s: a handful of tries, each of up to two requests, and a
            # text is halved on the way.
            assert server.requests <= 60, (name, server.requests)
            assert (stats.fulfilled, stats.pending) == (0, 300), (name, stats)
            assert stats.state in {"retrying", "diverged"}, (name, stats)
            assert stats.reason, name
        assert memory() - before < 100
        assert all(write is not None and len(write.outcomes) == 1 for write in writes)
        assert peer.client().value("SELECT count(*) FROM t") == 300


def test_a_flood_of_interim_answers_does_not_hold_up_the_end() -> None:
    """They keep the thread that delivers busy, its clock included."""
    flood = endless(b"", b"x: y\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2_000)
    with Hostile(flood) as server:
        replicator = connect(server.url, request_timeout=20)
        replicator.after_query(INSERT, (1,))
        until(lambda: server.requests, "it floods")
        began = time.monotonic()
        assert not replicator.close(0.2)
        assert time.monotonic() - began < 6


BEYOND = {
    "seq + 1": saying(seq=lambda seq: seq + 1),
    "seq at SQLite's end": saying(seq=2**63 - 1),
    "seq beyond SQLite's end": saying(seq=2**64 - 1),
    "seq in the middle": saying(seq=2**62),
    "step": saying(step=1),
    "step at the end": saying(step=2**63 - 1),
}


@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("durable", [False, True])
def test_what_was_never_sent_is_not_believed(
    quick: Callable[..., Replicator], tmp_path: Path, name: str, durable: bool
) -> None:
    """Neither in an answer nor in the row that is read after it."""
    with Hostile(consistent(BEYOND[name])) as server:
        journal = {"journal": tmp_path / "j"} if durable else {}
        replicator = quick(server.url, **journal)
        write = replicator.after_query(INSERT, (1,))
        until(lambda: of(replicator, server.url).reason, "it is doubted")
        if name != "seq beyond SQLite's end":
            until(lambda: of(replicator, server.url).state == "diverged", "it is stopped")
        assert write is not None
        assert write.outcomes == ()
        assert of(replicator, server.url).fulfilled == 0
        replicator.close(0)
        if durable:
            again = quick(server.url, **journal)
            until(lambda: of(again, server.url).reason, "it is doubted again")
            write = again.after_query(INSERT, (2,))
            assert write is not None
            assert (of(again, server.url).fulfilled, write.seq) == (0, 1)


@pytest.mark.parametrize(
    "changes",
    [
        "9223372036854775807,9223372036854775807;" * 3,
        "1/18446744073709551615;",
        "-5;-5;-5;",
        "-9223372036854775808/3;",
        "1;" * 100_000,
        "," * 1_000_000,
        "/0;" * 200_000,
        "\u0661;",
    ],
)
def test_counts_that_cannot_be_are_left_out(quick: Callable[..., Replicator], changes: str) -> None:
    with Hostile(Liar(saying(changes=changes))) as server:
        replicator = quick(server.url)
        with replicator.transaction() as transaction:
            transaction.after_query(INSERT, (1,), 1)
        write = replicator.after_query("UPDATE t SET a = 1", None, 1)
        assert write is not None
        ((outcome),) = write.wait(20)
        assert (outcome.status, outcome.changes) == ("fulfilled", None)
        assert of(replicator, server.url).changes_differ == 0


@pytest.mark.parametrize(
    "greeting", [{"id": 0}, {"id": 2**64 - 1}, {"seq": 2**64 - 1}, {"chain": 2**63}]
)
def test_a_greeting_that_cannot_be(quick: Callable[..., Replicator], greeting: Row) -> None:
    with Hostile(Liar(saying(**greeting), about="greeting")) as server:
        replicator = quick(server.url)
        replicator.after_query(INSERT, (1,))
        until(lambda: of(replicator, server.url).retries > 1, "it is asked again")
        assert (of(replicator, server.url).reason or "").startswith("not_a_replica: ")
        assert of(replicator, server.url).fulfilled == 0


def test_a_copy_whose_row_is_far_ahead_does_not_move_our_numbers(
    quick: Callable[..., Replicator], tmp_path: Path
) -> None:
    """After `resume` any row is taken; its number must not become one of the journal's."""
    rows = iter([{**NEW, "seq": 3, "chain": 9}])

    def script(request: Request) -> Reply:
        row = {**NEW, "seq": 2**60, "chain": 9} if request.kind == "greeting" else next(rows, NEW)
        return (200, {"result": [row]}) if request.kind != "text" else error(503, "x")

    with Hostile(script) as server:
        settings = {"journal": tmp_path / "j", "origin": "named"}
        replicator = quick(server.url, **settings)
        until(lambda: of(replicator, server.url).state == "diverged", "it is stopped")
        replicator.resume(server.url)
        until(lambda: of(replicator, server.url).retries > 0, "it was greeted, and sent to")
        replicator.close(0)
        again = quick(server.url, **settings)
        write = again.after_query(INSERT, (1,))
        assert write is not None
        assert write.seq == 1


@pytest.mark.parametrize("status", [200, 400, 401, 404, 413, 429, 500, 503])
@pytest.mark.parametrize("end", ["", ": SQLITE_CONSTRAINT", ": SQLITE_ERROR"])
def test_a_shout_is_quoted(
    quick: Callable[..., Replicator], caplog: pytest.LogCaptureFixture, status: int, end: str
) -> None:
    caplog.set_level(logging.INFO, "afterquery")
    with Hostile(unmoved(error(status, SHOUT + end))) as server:
        replicator = quick(server.url)
        before = memory()
        for n in range(40):
            replicator.after_query("UPDATE t SET a = ?", (n,))
        until(lambda: of(replicator, server.url).reason or replicator.dead_letters(), "it is told")
        replicator.flush(0.3)
        stats = of(replicator, server.url)
        reasons = [letter.reason for letter in replicator.dead_letters()] + [stats.reason or ""]
        replicator.close(0)
        assert memory() - before < 60
    messages = [record.getMessage() for record in caplog.records]
    assert messages
    for told in [*reasons, *messages]:
        assert len(told.encode()) < 1_500
        assert told.isprintable(), told


@pytest.mark.parametrize(
    ("status", "message", "code", "advice"),
    [
        (500, "Query not allowed", "client_token", "ADMIN_AUTHORIZATION_TOKEN"),
        (500, 'Expected "#", "--" or end of input but "W" found.', "client_token", "ADMIN_"),
        (400, "Invalid Compact JWS", "unauthorized", "ADMIN_AUTHORIZATION_TOKEN"),
        (400, "Unauthorized request", "unauthorized", "check auth_token"),
    ],
)
def test_a_token_that_may_not_write_has_a_reason_of_its_own(
    quick: Callable[..., Replicator],
    caplog: pytest.LogCaptureFixture,
    status: int,
    message: str,
    code: str,
    advice: str,
) -> None:
    with Hostile(always(error(status, message))) as server:
        replicator = quick(server.url, auth_token="s3cret")
        replicator.after_query(INSERT, (1,))
        until(lambda: of(replicator, server.url).reason, "it is refused")
        reason = of(replicator, server.url).reason or ""
        assert reason.startswith(f"{code}: ")
        assert advice in reason
        assert message.replace("\n", " ") in reason
        until(lambda: any(r.levelno == logging.ERROR for r in caplog.records), "the log says so")
    assert "s3cret" not in caplog.text + reason


TROUBLE = [
    "D1_ERROR: Network connection lost.",
    "Durable Object reset because its code was updated.",
    "Cannot resolve Durable Object due to transient issue on remote node.",
    "Exceeded allowed storage in Durable Objects free tier.",
    "disk I/O error: SQLITE_IOERR (extended: SQLITE_IOERR_WRITE)",
    "file is not a database: SQLITE_NOTADB",
    "database schema has changed: SQLITE_SCHEMA",
    "query aborted: SQLITE_ABORT",
    "something that nobody has seen yet",
]


def test_a_replicas_own_trouble_is_no_dead_letter(quick: Callable[..., Replicator]) -> None:
    """It passes after a while, and the write is there."""
    with ExitStack() as stack:
        servers = []
        for message in TROUBLE:
            left = [8]

            def lie(_: Request, row: Row, message: str = message, left: list[int] = left) -> Reply:
                left[0] -= 1
                return error(500, message) if left[0] >= 0 else (200, {"result": [row]})

            liar = Liar(lie)

            def script(request: Request, liar: Liar = liar, left: list[int] = left) -> Reply:
                if request.kind == "question" and left[0] >= 0:
                    return (200, {"result": [NEW]})
                return liar(request)

            servers.append(stack.enter_context(Hostile(script)))
        names = [Replica(server.url, name=m) for server, m in zip(servers, TROUBLE, strict=True)]
        replicator = quick(*names, retry_base=0.005, retry_max=0.05)
        write = replicator.after_query(INSERT, (1,), 1)
        assert write is not None
        assert {o.replica: o.status for o in write.wait(20)} == dict.fromkeys(TROUBLE, "fulfilled")
