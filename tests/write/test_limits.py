"""What is bounded, and what gives way when a bound is reached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from afterquery import Replica
from replication.world import (
    TIMEOUT,
    connect,
    fulfilled,
    of,
    peers,
    prepare,
    rejected,
    replica,
    settled,
    until,
)
from support import faults
from support.peer import PeerProcess
from support.proxy import Proxy

SCHEMA = "CREATE TABLE log (n INTEGER PRIMARY KEY, v)"
INSERT = "INSERT INTO log (v) VALUES (?)"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    with peers(tmp_path_factory.mktemp("limits"), 1) as (process,):
        prepare(SCHEMA, process)
        yield process


@pytest.fixture
def process(running: PeerProcess) -> PeerProcess:
    running.client().run("DELETE FROM log")
    return running


def _stored(process: PeerProcess) -> int:
    count = process.client().value("SELECT count(*) FROM log")
    assert isinstance(count, int)
    return count


def test_at_max_pending_writes_the_one_furthest_behind_is_detached(process: PeerProcess) -> None:
    with connect(process, Replica(NOBODY, name="dead"), max_pending_writes=50) as replicator:
        writes = []
        for number in range(200):
            writes.append(replicator.after_query(INSERT, (number,), 1))
            until(lambda: replicator.stats().pending <= 50, "it gives way")
            # The good one keeps up: it is not the one that gives way.
            until(lambda: of(replicator, process.name).pending < 20, "it keeps up")
        assert of(replicator, "dead").state == "detached"
        assert "max_pending_" in (of(replicator, "dead").reason or "")
        assert of(replicator, process.name).state == "live"
        for write in writes:
            outcomes = settled(write)
            assert outcomes[process.name].status == "fulfilled"
            assert (outcomes["dead"].reason or "").startswith("detached: ")
    assert _stored(process) == 200


def test_at_max_pending_bytes_the_one_furthest_behind_is_detached(process: PeerProcess) -> None:
    text = "x" * 10_000
    with connect(process, Replica(NOBODY, name="dead"), max_pending_bytes=300_000) as replicator:
        for _ in range(100):
            replicator.after_query(INSERT, (text,))
            until(lambda: replicator.stats().pending_bytes <= 300_000, "it gives way")
            until(lambda: of(replicator, process.name).pending < 5, "it keeps up")
        assert of(replicator, "dead").state == "detached"
        assert replicator.flush(TIMEOUT)
        assert of(replicator, process.name).fulfilled == 100
    assert _stored(process) == 100


def test_with_one_replica_the_limit_holds_too() -> None:
    with connect(Replica(NOBODY, name="dead"), max_pending_writes=10) as replicator:
        writes = [replicator.after_query(INSERT, (number,)) for number in range(30)]
        until(lambda: of(replicator, "dead").state == "detached", "it is detached")
        for write in writes:
            assert all(reason.startswith("detached: ") for reason in rejected(write).values())
        assert replicator.stats().pending == 0


def test_a_write_larger_than_everything_that_may_be_pending_is_rejected(
    process: PeerProcess,
) -> None:
    with connect(process, max_pending_bytes=50_000) as replicator:
        before = replicator.after_query(INSERT, ("before",), 1)
        too_large = replicator.after_query(INSERT, ("x" * 60_000,), 1)
        after = replicator.after_query(INSERT, ("after",), 1)
        (reason,) = rejected(too_large).values()
        assert reason.startswith("overflow: ")
        assert "max_pending_bytes=50000" in reason
        fulfilled(before)
        fulfilled(after)
        stats = of(replicator, process.name)
        assert (stats.state, stats.rejected, stats.diverged) == ("live", 1, True)
        assert [letter.reason for letter in replicator.dead_letters()] == [reason]
    assert _stored(process) == 2


def test_many_rows_count_as_one_write_by_their_size(process: PeerProcess) -> None:
    with connect(process, max_pending_bytes=50_000) as replicator:
        rows = [("x" * 100,) for _ in range(1_000)]
        (reason,) = rejected(replicator.after_query(INSERT, rows, many=True)).values()
        assert reason.startswith("overflow: ")
        fulfilled(replicator.after_query(INSERT, rows[:20], many=True))
    assert _stored(process) == 20


def test_dead_letters_are_bounded_and_those_dropped_are_counted(process: PeerProcess) -> None:
    with connect(process, max_dead_letters=3) as replicator:
        for number in range(10):
            rejected(replicator.after_query(f"INSERT INTO log VALUES ({number}, 1, 'too many')"))
        letters = replicator.dead_letters()
        assert [letter.seq for letter in letters] == [8, 9, 10]
        assert replicator.stats().dead_letters_dropped == 7
        assert of(replicator, process.name).rejected == 10


def test_no_dead_letters_may_be_kept_at_all(process: PeerProcess) -> None:
    with connect(process, max_dead_letters=0) as replicator:
        rejected(replicator.after_query("INSERT INTO missing VALUES (1)"))
        assert replicator.dead_letters() == []
        assert replicator.stats().dead_letters_dropped == 1


def test_pending_counts_come_back_to_nothing(process: PeerProcess) -> None:
    with (
        Proxy(process.url, faults.always(faults.CutBeforeRequest())) as proxy,
        connect(replica(process, url=proxy.url)) as replicator,
    ):
        for number in range(100):
            replicator.after_query(INSERT, (number,))
        stats = replicator.stats()
        assert (stats.pending, stats.writes) == (100, 100)
        assert of(replicator, process.name).pending == 100
        assert stats.pending_bytes == of(replicator, process.name).pending_bytes
        assert stats.pending_bytes >= 100 * len("INSERT INTO log (v) VALUES (1)")
        proxy.set(faults.Pass())
        assert replicator.flush(TIMEOUT)
        stats = replicator.stats()
        assert (stats.pending, stats.pending_bytes) == (0, 0)


@pytest.mark.slow
def test_a_great_backlog_is_delivered_in_order(process: PeerProcess) -> None:
    """Far more than one batch, gathered while the replica was away."""
    with (
        Proxy(process.url, faults.always(faults.CutBeforeRequest())) as proxy,
        connect(replica(process, url=proxy.url)) as replicator,
    ):
        for number in range(20_000):
            replicator.after_query(INSERT, (number,))
        assert replicator.stats().pending == 20_000
        proxy.set(faults.Pass())
        assert replicator.flush(TIMEOUT)
        assert of(replicator, process.name).fulfilled == 20_000
    wrong = "SELECT count(*) FROM log WHERE v <> n - (SELECT min(n) FROM log)"
    assert (_stored(process), process.client().value(wrong)) == (20_000, 0)


def test_the_most_replicas_and_one_too_many() -> None:
    replicas = [Replica(f"{NOBODY}/{number}", name=f"r{number}") for number in range(65)]
    with pytest.raises(ValueError, match="64"):
        connect(*replicas)
    with connect(*replicas[:64]) as replicator:
        write = replicator.after_query(INSERT, (1,))
        replicator.close(timeout=0)
        assert len(rejected(write)) == 64
