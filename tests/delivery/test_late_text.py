"""A text that a dead process sent, and that runs while the next one finds its bearings."""

from __future__ import annotations

from pathlib import Path

import pytest

from replication.world import connect, prepare, replica, until
from support import faults
from support.peer import PeerProcess
from support.proxy import Proxy
from support.wire import Message

SCHEMA = "CREATE TABLE t (n INTEGER PRIMARY KEY, k INT)"


class Network:
    """Holds the text that carries the writes, and lets it through before a later request."""

    def __init__(self, peer: PeerProcess, before: str) -> None:
        self.peer = peer
        self.before = before
        self.held: list[str] = []
        self.adopted = False

    def __call__(self, request: Message) -> faults.Fault:
        sql = request.sql
        if not self.adopted and "INSERT INTO t " in sql:
            self.held.append(sql)
            return faults.Hang()
        if self.adopted and self.held and sql.startswith(self.before):
            self.peer.client().run(self.held.pop())
        return faults.Pass()


@pytest.mark.parametrize(
    "before", ["SELECT", "CREATE TABLE", "INSERT INTO tmp_afterquery_watermark"]
)
def test_it_is_known_whenever_it_runs(peer: PeerProcess, tmp_path: Path, before: str) -> None:
    prepare(SCHEMA, peer)
    network = Network(peer, before)
    with Proxy(peer.url, network) as proxy:
        journal = tmp_path / "journal"
        settings = {"journal": journal, "durability": "process"}
        dead = connect(replica(peer, url=proxy.url), **settings)
        for k in range(5):
            dead.after_query("INSERT INTO t (k) VALUES (?)", (k,), 1)
        until(lambda: network.held, "a text is under way")
        dead.close(0)
        network.adopted = True
        with connect(replica(peer, url=proxy.url), **settings) as living:
            living.after_query("INSERT INTO t (k) VALUES (?)", (5,), 1)
            assert living.flush(30)
            assert [state.state for state in living.stats().replicas] == ["live"]
    assert not network.held
    assert peer.client().rows("SELECT k FROM t ORDER BY n") == [(k,) for k in range(6)]
