"""A replica that stands still holds up no other, and does not gather memory without end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from afterquery import Replica
from replication.load import SCHEMA, Load
from replication.world import (
    TIMEOUT,
    Primary,
    assert_same,
    both_engines,
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

LOG = "INSERT INTO log (k) VALUES (?)"


@contextmanager
def _stopped(process: PeerProcess) -> Iterator[None]:
    """The process exists, its port is open, and it does nothing at all."""
    number = _pid(process)
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(number, signal.SIGCONT)


def _pid(process: PeerProcess) -> int:
    found = subprocess.run(
        ["pgrep", "-f", "--", str(process.db)], capture_output=True, text=True, check=True
    )
    (number,) = found.stdout.split()
    return int(number)


@pytest.mark.workerd
def test_one_that_is_stopped_for_the_whole_run_holds_up_no_other(tmp_path: Path) -> None:
    with (
        Primary(tmp_path / "primary.db", SCHEMA) as primary,
        both_engines(tmp_path) as good,
        peers(tmp_path, 1) as (slow,),
    ):
        prepare(SCHEMA, *good, slow)
        with connect(*good, slow, request_timeout=0.3) as replicator, _stopped(slow):
            load = Load(primary, replicator, 23)
            for _ in range(1_000):
                load.write()
            for process in good:
                until(lambda p=process: of(replicator, p.name).pending == 0, "it has all")  # type: ignore[misc]
                stats = of(replicator, process.name)
                assert (stats.fulfilled, stats.retries, stats.diverged) == (1_000, 0, False)
            stats = of(replicator, slow.name)
            assert (stats.pending, stats.fulfilled, stats.rejected) == (1_000, 0, 0)
            until(lambda: of(replicator, slow.name).breaker != "closed", "it counts as down")
            assert (of(replicator, slow.name).reason or "").startswith("timeout: ")
            assert not replicator.flush(0)
            for replication in load.replications:
                assert [o.replica for o in replication.outcomes] == [p.name for p in good]
                assert {o.attempts for o in replication.outcomes} == {1}
            assert_same(primary, *good)
            # It comes back, and lacks nothing.
            os.kill(_pid(slow), signal.SIGCONT)
            load.settle()
        assert_same(primary, *good, slow)


@pytest.mark.parametrize("limit", ["writes", "bytes"])
def test_at_its_lag_limit_it_is_detached_and_its_memory_is_given_back(
    tmp_path: Path, limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"max_lag_writes": 100} if limit == "writes" else {"max_lag_bytes": 20_000}
    with (
        Primary(tmp_path / "primary.db", SCHEMA) as primary,
        peers(tmp_path, 2) as (good, back),
        Proxy(back.url, faults.always(faults.Hang())) as proxy,
    ):
        prepare(SCHEMA, good, back)
        slow = replica(back, url=proxy.url, name="slow", **limits)
        with connect(good, slow, request_timeout=0.5) as replicator:
            load = Load(primary, replicator, 29)
            for _ in range(400):
                load.write()
            until(lambda: of(replicator, "slow").state == "detached", "it is detached")
            # Nothing waits for it any more: all is settled, and nothing is kept.
            for earlier in load.replications:
                outcomes = settled(earlier)
                assert outcomes[good.name].status == "fulfilled"
                assert outcomes["slow"].status == "rejected"
                assert (outcomes["slow"].reason or "").startswith("detached: ")
            assert replicator.flush(TIMEOUT)
            until(lambda: replicator.stats().pending == 0, "nothing is pending")
            assert replicator.stats().pending_bytes == 0
            stats = of(replicator, "slow")
            assert (stats.pending, stats.pending_bytes) == (0, 0)
            assert (stats.diverged, stats.fulfilled, stats.rejected) == (True, 0, 400)
            assert "max_lag_" in (stats.reason or "")
            assert of(replicator, good.name).fulfilled == 400
            until(lambda: "slow gets nothing more (detached)" in caplog.text, "the log says it")
            # What comes now does not wait for it either.
            replication = replicator.after_query(LOG, (-1,), primary.run(LOG, (-1,)))
            outcomes = settled(replication)
            assert (outcomes[good.name].status, outcomes["slow"].status) == (
                "fulfilled",
                "rejected",
            )
            requests = len(proxy.requests)

            # Synced anew, it goes on from there.
            proxy.set(faults.Pass())
            assert len(proxy.requests) == requests
            for table in ("counter", "chain", "log"):
                back.client().run(f"DELETE FROM {table}")
                for row in primary.rows(f"SELECT * FROM {table}"):
                    values = ", ".join("NULL" if v is None else repr(v) for v in row)
                    back.client().run(f"INSERT INTO {table} VALUES ({values})")
            replicator.resume("slow")
            for number in range(20):
                fulfilled(replicator.after_query(LOG, (number,), primary.run(LOG, (number,))))
            assert of(replicator, "slow").state == "live"
            assert of(replicator, "slow").diverged is False
        assert_same(primary, good, back)


def test_each_replica_has_its_own_limit(tmp_path: Path) -> None:
    with peers(tmp_path, 1) as (good,):
        prepare(SCHEMA, good)
        near = Replica("http://127.0.0.1:9", name="near", max_lag_writes=10)
        far = Replica("http://127.0.0.1:9/far", name="far")
        with connect(near, far, good, max_lag_writes=10_000) as replicator:
            writes = [replicator.after_query(LOG, (number,)) for number in range(50)]
            until(lambda: of(replicator, "near").state == "detached", "it is detached")
            assert of(replicator, "far").state in ("connecting", "retrying")
            assert of(replicator, "far").pending == 50
            assert replicator.stats().pending == 50
            until(lambda: of(replicator, good.name).fulfilled == 50, "the good one has all")
            replicator.close(timeout=0)
            for write in writes:
                reasons = {n: (o.reason or "").split(":")[0] for n, o in settled(write).items()}
                assert reasons == {"near": "detached", "far": "closed", good.name: ""}


def test_a_lag_limit_of_nothing_detaches_at_the_first_write() -> None:
    with connect(Replica("http://127.0.0.1:9", name="none", max_lag_writes=0)) as replicator:
        for reason in rejected(replicator.after_query(LOG, (1,))).values():
            assert reason.startswith("detached: ")
