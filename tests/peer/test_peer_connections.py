"""Connections of a served peer: strangers are many and slow, and writers are served."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from support.client import UnansweredError
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN, CLIENT_TOKEN
from support.until import until

HALF = b"POST /query HTTP/1.1\r\nhost: x\r\n"
ONE_CALL = "SELECT instr(hex(zeroblob(6000000)), hex(zeroblob(3000000)) || '1') AS a"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(stack: ExitStack, peer: PeerProcess, content: bytes = b"") -> socket.socket:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", peer.port), timeout=10))
    connection.sendall(content)
    return connection


def request(token: str, sql: str) -> bytes:
    body = json.dumps({"sql": sql}).encode()
    fields = f"authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    return HALF + fields.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


def answer(connection: socket.socket) -> bytes:
    content = b""
    while b"}" not in content:
        part = connection.recv(65536)
        assert part, content
        content += part
    return content


def test_strangers_give_way_to_who_has_a_token(tmp_path: Path, stack: ExitStack) -> None:
    peer = stack.enter_context(PeerProcess(tmp_path, limits={"max_connections": 10}))
    writer = opened(stack, peer, request(ADMIN_TOKEN, "CREATE TABLE t (a)"))
    assert b"200 OK" in answer(writer)
    reader = opened(stack, peer, request(CLIENT_TOKEN, "SELECT 1 AS a"))
    assert b"200 OK" in answer(reader)
    strangers = [opened(stack, peer, HALF) for _ in range(30)]
    # Somebody new with a token comes in, too.
    assert peer.client().query("INSERT INTO t VALUES (1)").status == 200
    assert not is_open(strangers[0])
    writer.sendall(request(ADMIN_TOKEN, "INSERT INTO t VALUES (2)"))
    assert b"200 OK" in answer(writer)
    reader.sendall(request(CLIENT_TOKEN, "SELECT count(*) AS n FROM t"))
    assert b'[{"n":2}]' in answer(reader)
    assert "max_connections" in peer.log()


def test_a_request_must_come_in_time(tmp_path: Path, stack: ExitStack) -> None:
    limits = {"max_head_seconds": 0.5, "max_body_seconds": 0.5}
    peer = stack.enter_context(PeerProcess(tmp_path, limits=limits))
    silent = opened(stack, peer)
    half = opened(stack, peer, HALF)
    # Without a token nobody waits for the body.
    refused = opened(stack, peer, HALF + b"content-length: 1000\r\n\r\n")
    whole = request(ADMIN_TOKEN, "SELECT 1 AS a")
    body = opened(stack, peer, whole[:-5])
    idle = opened(stack, peer, whole)
    assert b"200 OK" in answer(idle)
    assert b"401" in answer(refused)
    start = time.monotonic()
    while is_open(half) or is_open(refused):
        with suppress(OSError):
            half.sendall(b"x: y\r\n")
            refused.sendall(b"x")
        assert time.monotonic() - start < 20
        time.sleep(0.05)
    assert not is_open(silent)
    body.setblocking(True)
    assert b"408" in answer(body)
    # Between two requests it may take its time.
    idle.setblocking(True)
    idle.sendall(whole)
    assert b"200 OK" in answer(idle)


def test_an_answer_must_be_taken_in_time(tmp_path: Path, stack: ExitStack) -> None:
    peer = stack.enter_context(PeerProcess(tmp_path, limits={"max_send_seconds": 0.5}))
    large = request(CLIENT_TOKEN, "SELECT hex(zeroblob(7000000)) AS a")
    before = sockets(peer)
    greedy = opened(stack, peer, large)
    # It takes the beginning and no more.
    assert greedy.recv(100)
    until(lambda: sockets(peer) == before)
    assert peer.client(CLIENT_TOKEN).query("SELECT 1 AS a").status == 200


def test_a_read_that_hangs_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    peer = PeerProcess(tmp_path)
    peer.start()
    peer.client().run("CREATE TABLE t (a)")

    def hang() -> None:
        with suppress(UnansweredError):
            peer.client(CLIENT_TOKEN).query(ONE_CALL)

    readers = [threading.Thread(target=hang) for _ in range(4)]
    for reader in readers:
        reader.start()
    until(lambda: len(children(peer)) >= 2)
    start = time.monotonic()
    assert peer.stop() == 0
    assert time.monotonic() - start < 5
    for reader in readers:
        reader.join()
    assert [path.name for path in tmp_path.glob("copy.db*")] == ["copy.db"]


def test_processes_that_read_end_with_a_peer_that_is_killed(tmp_path: Path) -> None:
    peer = PeerProcess(tmp_path, limits={"max_read_seconds": 0.1})
    peer.start()
    peer.client(CLIENT_TOKEN).query("SELECT 1")
    (process,) = children(peer)
    peer.kill()
    until(lambda: not alive(process))


def sockets(peer: PeerProcess) -> int:
    """How many sockets the peer has open."""
    assert peer._process is not None
    folder = Path(f"/proc/{peer._process.pid}/fd")
    if not folder.exists():
        pytest.skip("no /proc here")
    found = 0
    for file in folder.iterdir():
        with suppress(OSError):
            found += str(file.readlink()).startswith("socket:")
    return found


def children(peer: PeerProcess) -> list[int]:
    assert peer._process is not None
    main = peer._process.pid
    tasks = Path(f"/proc/{main}/task")
    if not tasks.exists():
        pytest.skip("no /proc here")
    found: list[int] = []
    for task in tasks.iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
