"""What strangers are held to: time, memory, sizes and numbers, and none of it in a writer's way."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from afterquery._errors import ConfigurationError
from afterquery.peer import Limits, Peer
from support.asgi import Message, ask
from support.client import Answer
from support.process import ADMIN_TOKEN, CLIENT_TOKEN
from support.until import until

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
# One call of a function, which nothing but the end of its process ends.
ONE_CALL = "SELECT instr(hex(zeroblob(6000000)), hex(zeroblob(3000000)) || '1') AS a"

Make = Callable[..., Peer]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Peer] = []

    def make(max_seconds: float = 30.0, **limits: float) -> Peer:
        peer = Peer(
            tmp_path / "copy.db",
            admin_token=ADMIN_TOKEN,
            client_token=CLIENT_TOKEN,
            max_seconds=max_seconds,
            limits=Limits(**limits),  # type: ignore[arg-type]
        )
        made.append(peer)
        return peer

    yield make
    for peer in made:
        peer.close()


def query(peer: Peer, sql: str, token: str = ADMIN_TOKEN) -> Answer:
    return ask(peer, json.dumps({"sql": sql}).encode(), headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def reads(peer: Peer) -> int:
    """How many processes read for the client token."""
    return sum(runner._process is not None for runner in peer._database._reads.runners())


class Guest:
    """A sender whose body is whole and who takes no answer; it leaves when it is told to."""

    def __init__(self, peer: Peer, body: dict[str, Any], token: str = CLIENT_TOKEN) -> None:
        self._peer = peer
        self._body = json.dumps(body).encode()
        self._headers = {"content-type": "application/json", **bearer(token)}
        self._leave = threading.Event()
        self.sent: list[Message] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._request()))
        self._thread.start()

    def leave(self) -> None:
        self._leave.set()
        self.wait()

    def wait(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _request(self) -> None:
        waiting: list[Message] = [{"type": "http.request", "body": self._body}]

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            while not self._leave.is_set():
                await asyncio.sleep(0.005)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        headers = [(k.encode(), v.encode()) for k, v in self._headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/query", "headers": headers}
        await self._peer(scope, receive, send)


def test_one_call_that_does_not_end_is_ended(make: Make) -> None:
    peer = make(max_read_seconds=0.3)
    query(peer, "CREATE TABLE t (a)")
    answer = query(peer, ONE_CALL, CLIENT_TOKEN)
    assert (answer.status, answer.error) == (503, "interrupted: SQLITE_INTERRUPT")
    assert answer.headers["retry-after"] == "1"
    assert peer.limits_met() == {"max_read_seconds": 1}
    assert query(peer, "SELECT 1 AS a", CLIENT_TOKEN).result == [{"a": 1}]


def test_readers_are_in_no_writers_way(make: Make) -> None:
    peer = make()
    query(peer, "CREATE TABLE tmp_afterquery_watermark (seq)")
    guests = [Guest(peer, {"sql": ONE_CALL}) for _ in range(5)]
    until(lambda: reads(peer) == 2)
    start = time.monotonic()
    assert query(peer, "INSERT INTO tmp_afterquery_watermark VALUES (7)").status == 200
    assert query(peer, "SELECT seq FROM tmp_afterquery_watermark").result == [{"seq": 7}]
    assert query(peer, "SELECT 1 AS a").result == [{"a": 1}]
    assert time.monotonic() - start < 5
    for guest in guests:
        guest.leave()


def test_what_a_sender_that_is_gone_wanted_to_read_is_not_read(make: Make) -> None:
    peer = make()
    slow = {"sql": ONE_CALL}
    guests = [Guest(peer, {"transaction": [slow] * 100}) for _ in range(2)]
    until(lambda: reads(peer) == 2)
    queued = [Guest(peer, slow) for _ in range(10)]
    until(lambda: peer._under_way[1] == 12)  # type: ignore[index]
    for guest in queued + guests:
        guest.leave()
        assert guest.sent == []
    start = time.monotonic()
    assert query(peer, "SELECT 1 AS a", CLIENT_TOKEN).result == [{"a": 1}]
    assert time.monotonic() - start < 5


def test_of_a_sender_that_is_gone_what_waits_is_not_written(make: Make, tmp_path: Path) -> None:
    peer = make(max_seconds=1)
    query(peer, "CREATE TABLE t (a)")
    with closing(sqlite3.connect(tmp_path / "copy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        running = Guest(peer, {"transaction": insert(1, 2)}, ADMIN_TOKEN)
        until(lambda: peer._database._writes._queue.empty() and peer._under_way[2] == 1)  # type: ignore[index]
        waiting = Guest(peer, {"transaction": insert(3, 4)}, ADMIN_TOKEN)
        until(lambda: peer._under_way[2] == 2)  # type: ignore[index]
        waiting.leave()
        running.leave()
        other.execute("ROLLBACK")
    until(lambda: query(peer, "SELECT a FROM t").result == [{"a": 1}])


def insert(*numbers: int) -> list[dict[str, str]]:
    return [{"sql": f"INSERT INTO t VALUES ({number})"} for number in numbers]


def test_reads_of_one_request_have_one_time(make: Make) -> None:
    peer = make(max_read_seconds=0.5)
    tenth = f"{ENDLESS} SELECT count(*) AS a FROM (SELECT i FROM n LIMIT 300000)"
    body = json.dumps({"transaction": [{"sql": tenth}] * 1_000}).encode()
    start = time.monotonic()
    answer = ask(peer, body, headers=bearer(CLIENT_TOKEN))
    assert (answer.status, answer.error) == (503, "interrupted: SQLITE_INTERRUPT")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "sql",
    [
        f"{ENDLESS} SELECT i, 'a text' AS a FROM n",
        "SELECT " + ", ".join(f"hex(zeroblob(100000)) AS a{i}" for i in range(50)),
        "SELECT hex(zeroblob(1000000)) AS a",
    ],
    ids=["rows", "columns", "value"],
)
@pytest.mark.parametrize("token", [ADMIN_TOKEN, CLIENT_TOKEN], ids=["admin", "client"])
def test_a_result_that_is_too_large_is_refused(make: Make, sql: str, token: str) -> None:
    answer = query(make(max_result_bytes=1_000_000), sql, token)
    assert answer.status == 500
    assert answer.error == "the result is larger than max_result_bytes (1000000): SQLITE_TOOBIG"


def test_results_of_one_request_count_together(make: Make) -> None:
    peer = make(max_result_bytes=1_000)
    text = {"sql": "SELECT hex(zeroblob(200)) AS a"}
    two = json.dumps({"transaction": [text] * 2}).encode()
    three = json.dumps({"transaction": [text] * 3}).encode()
    assert ask(peer, two).status == 200
    assert "max_result_bytes" in ask(peer, three).error


def test_a_write_whose_result_is_too_large_is_not_applied(make: Make) -> None:
    peer = make(max_result_bytes=1_000)
    query(peer, "CREATE TABLE t (a)")
    text = "INSERT INTO t VALUES (1); INSERT INTO t VALUES (hex(zeroblob(1000))) RETURNING a"
    assert "max_result_bytes" in query(peer, text).error
    assert query(peer, "SELECT a FROM t").result == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(hex(zeroblob(40000000))) AS a",
        f"{ENDLESS} SELECT count(*) FROM (SELECT randomblob(1000) AS b FROM n ORDER BY b LIMIT -1)",
        f"{ENDLESS} SELECT count(*) FROM (SELECT DISTINCT randomblob(1000) FROM n)",
    ],
    ids=["value", "sort", "distinct"],
)
def test_a_read_has_so_much_memory_and_no_disk(make: Make, sql: str) -> None:
    peer = make(max_read_memory_bytes=32 * 1024 * 1024)
    answer = query(peer, sql, CLIENT_TOKEN)
    assert answer.status == 500
    assert answer.error == "the text needs more than max_read_memory_bytes (33554432): SQLITE_NOMEM"
    assert peer.limits_met() == {"max_read_memory_bytes": 1}
    assert query(peer, "SELECT 1 AS a", CLIENT_TOKEN).result == [{"a": 1}]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot set SQLite's limits")
def test_a_value_that_is_too_long_is_not_written(make: Make) -> None:
    peer = make(max_value_bytes=1_000_000)
    query(peer, "CREATE TABLE t (a)")
    assert query(peer, "INSERT INTO t VALUES (zeroblob(900000))").status == 200
    answer = query(peer, "INSERT INTO t VALUES (zeroblob(1000001))")
    assert answer.error == "string or blob too big: SQLITE_TOOBIG"


def test_too_many_readers_are_told_to_try_again(make: Make) -> None:
    peer = make(max_reads=3)
    guests = [Guest(peer, {"sql": ONE_CALL}) for _ in range(3)]
    until(lambda: peer._under_way[1] == 3)  # type: ignore[index]
    answer = query(peer, "SELECT 1 AS a", CLIENT_TOKEN)
    assert (answer.status, answer.error) == (503, "too many requests: max_reads (3) are under way")
    assert answer.headers["retry-after"] == "1"
    assert query(peer, "CREATE TABLE t (a)").status == 200
    for guest in guests:
        guest.leave()
    assert query(peer, "SELECT 1 AS a", CLIENT_TOKEN).status == 200


def test_large_answers_that_nobody_takes_are_not_kept(make: Make) -> None:
    peer = make(max_unsent_bytes=300_000, max_send_seconds=0.3)
    large = b'{"sql": "SELECT hex(zeroblob(100000)) AS a"}'

    async def unread() -> None:
        async def never(_: Message) -> None:
            await asyncio.Event().wait()

        await peer(scope(), receiving(large), never)

    async def both() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        task = asyncio.create_task(unread())
        while not peer._unsent:
            await asyncio.sleep(0.005)
        await peer(scope(), receiving(large), send)
        await task
        return sent

    start, _ = asyncio.run(both())
    assert start["status"] == 503
    assert peer._unsent == 0
    assert len(query(peer, "SELECT hex(zeroblob(100000)) AS a", CLIENT_TOKEN).body) > 200_000


def test_a_body_that_does_not_come_is_not_waited_for(make: Make) -> None:
    peer = make(max_body_seconds=0.1)
    sent: list[Message] = []

    async def never() -> Message:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(peer(scope(), never, send))
    assert sent[0]["status"] == 408
    assert peer._under_way[1] == 0  # type: ignore[index]


def scope() -> Message:
    headers = {"content-type": "application/json", **bearer(CLIENT_TOKEN)}
    fields = [(k.encode(), v.encode()) for k, v in headers.items()]
    return {"type": "http", "method": "POST", "path": "/query", "headers": fields}


def receiving(body: bytes) -> Callable[[], Any]:
    waiting: list[Message] = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop()

    return receive


def test_a_body_of_a_reader_may_be_less_long(make: Make) -> None:
    peer = make(max_read_body_bytes=1_000)
    body = json.dumps({"sql": "SELECT 1 AS a", "rest": "x" * 1_000}).encode()
    assert ask(peer, body).status == 200
    assert ask(peer, body, headers=bearer(CLIENT_TOKEN)).status == 413
    assert peer.limits_met() == {"max_read_body_bytes": 1}


def test_the_log_begins_anew_although_somebody_reads(make: Make, tmp_path: Path) -> None:
    peer = make(max_wal_bytes=1_000_000, max_read_seconds=30)
    query(peer, "CREATE TABLE t (a)")
    query(peer, "INSERT INTO t VALUES (1)")
    guest = Guest(peer, {"sql": f"{ENDLESS} SELECT count(*) FROM n WHERE i < (SELECT a FROM t)"})
    until(lambda: reads(peer) == 1)
    log = tmp_path / "copy.db-wal"
    largest = 0
    for _ in range(200):
        assert query(peer, "INSERT INTO t VALUES (zeroblob(50000))").status == 200
        largest = max(largest, log.stat().st_size)
        if peer.limits_met().get("max_wal_bytes"):
            break
    assert largest < 1_200_000
    guest.wait()
    assert guest.sent[0]["status"] == 503
    assert log.stat().st_size < 1_000_000


def test_a_process_that_reads_has_no_secrets(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", "very secret")
    peer = make()
    query(peer, "SELECT 1", CLIENT_TOKEN)
    (runner,) = [r for r in peer._database._reads.runners() if r._process is not None]
    assert runner._process is not None
    try:
        environment = Path(f"/proc/{runner._process.pid}/environ").read_bytes()
    except FileNotFoundError:
        pytest.skip("no /proc here")
    assert b"secret" not in environment
    assert os.environ["PATH"].encode() in environment


def test_a_process_that_reads_and_dies_is_replaced(make: Make) -> None:
    peer = make()
    assert query(peer, "SELECT 1 AS a", CLIENT_TOKEN).status == 200
    for runner in peer._database._reads.runners():
        runner.cut()
        if runner._process is not None:
            runner._process.wait()
    assert query(peer, "SELECT 1 AS a", CLIENT_TOKEN).result == [{"a": 1}]


def test_many_readers_at_once(make: Make) -> None:
    peer = make()
    query(peer, "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: query(peer, "SELECT a FROM t", CLIENT_TOKEN), range(50))
        assert {answer.body for answer in answers} == {'{"result":[{"a":1},{"a":2}]}'}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_reads": 0}, "max_reads must be a whole number above 0, not 0"),
        ({"max_reads": 1.5}, "max_reads must be a whole number"),
        ({"max_read_seconds": -1}, "max_read_seconds must be a number above 0"),
        ({"max_read_seconds": float("nan")}, "max_read_seconds must be a number above 0"),
        ({"readers": True}, "readers must be a whole number"),
    ],
)
def test_limits_that_cannot_be(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Limits(**limits)


def test_limits_of_the_command_line() -> None:
    limits = Limits.of(["max_reads=5", "max_read_seconds=2.5"])
    assert limits == Limits(max_reads=5, max_read_seconds=2.5)
    with pytest.raises(ConfigurationError, match="there is no limit 'reads'; there are max_"):
        Limits.of(["reads=5"])
    with pytest.raises(ConfigurationError, match="max_reads=many: that is no number"):
        Limits.of(["max_reads=many"])
