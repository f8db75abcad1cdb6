"""The fault proxy does what its faults say; other tests rely on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import faults
from support.client import Client, UnansweredError
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.proxy import Proxy


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    with PeerProcess(tmp_path_factory.mktemp("peer")) as process:
        yield process


@pytest.fixture
def proxy(peer: PeerProcess) -> Iterator[Proxy]:
    client = peer.client()
    client.query("DROP TABLE IF EXISTS t")
    client.run("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (0)")
    with Proxy(peer.url) as proxy:
        yield proxy


def through(proxy: Proxy, timeout: float = 30.0) -> Client:
    return Client(proxy.url, ADMIN_TOKEN, timeout)


def applied(peer: PeerProcess) -> bool:
    return peer.client().rows("SELECT n FROM t") == [(1,)]


def test_pass(peer: PeerProcess, proxy: Proxy) -> None:
    through(proxy).run("UPDATE t SET n = 1")
    assert applied(peer)
    assert proxy.requests[0].sql == "UPDATE t SET n = 1"


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (faults.CutBeforeRequest(), False),
        (faults.CutAfterRequest(), True),
        (faults.CutInAnswer(), True),
    ],
)
def test_cut(peer: PeerProcess, proxy: Proxy, fault: faults.Fault, arrives: bool) -> None:
    proxy.set(fault)
    with pytest.raises(UnansweredError):
        through(proxy).query("UPDATE t SET n = 1")
    assert applied(peer) == arrives
    assert proxy.seen == {type(fault): 1}


@pytest.mark.parametrize("forward", [False, True])
def test_hang(peer: PeerProcess, proxy: Proxy, forward: bool) -> None:
    proxy.set(faults.Hang(forward))
    with pytest.raises(UnansweredError, match="timed out"):
        through(proxy, timeout=0.3).query("UPDATE t SET n = 1")
    assert applied(peer) == forward


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("retry_after", [None, "2"])
def test_answer(peer: PeerProcess, proxy: Proxy, status: int, retry_after: str | None) -> None:
    proxy.set(faults.error("not now", status, retry_after))
    answer = through(proxy).query("UPDATE t SET n = 1")
    assert (answer.status, answer.error) == (status, "not now")
    assert answer.headers.get("retry-after") == retry_after
    assert not applied(peer)


def test_html(proxy: Proxy) -> None:
    proxy.set(faults.HTML)
    answer = through(proxy).query("SELECT 1")
    assert answer.body.startswith("<!doctype html>")
    assert answer.headers["content-type"] == "text/html"


def test_plans(proxy: Proxy) -> None:
    proxy.plan = faults.in_turn(faults.error("first"), faults.error("second", 503))
    client = through(proxy)
    assert [client.query("SELECT 1").status for _ in range(3)] == [500, 503, 200]
    proxy.plan = faults.mixture(1, [faults.error("often")], 0.5, faults.jitter(2, 0.0, 0.001))
    statuses = [client.query("SELECT 1").status for _ in range(40)]
    assert 5 < statuses.count(500) < 35


def test_a_dead_replica_answers_nothing(tmp_path: Path) -> None:
    process = PeerProcess(tmp_path)
    process.start()
    url = process.url
    process.kill()
    with Proxy(url) as proxy, pytest.raises(UnansweredError):
        through(proxy).query("SELECT 1")


def test_a_fake_replica() -> None:
    with Proxy(plan=lambda request: faults.result([{"said": request.sql}])) as replica:
        assert through(replica).value("SELECT hello") == "SELECT hello"
