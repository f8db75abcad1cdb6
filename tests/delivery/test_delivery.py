"""Whatever happens on the way: none lost, none twice, none out of order."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from replication.load import SCHEMA, Load
from replication.world import (
    Primary,
    assert_same,
    both_engines,
    connect,
    of,
    peers,
    prepare,
    replica,
)
from support import faults, workerd
from support.peer import PeerProcess
from support.process import ReplicaProcess
from support.proxy import Proxy

KILLS = 10
WRITES = 2_000


def _schedule(chance: random.Random) -> dict[int, str]:
    """At which writes a replica is killed, and at which it is back: ten times, never nested."""
    points = sorted(chance.sample(range(20, WRITES - 20), 2 * KILLS))
    return {at: "kill" if number % 2 == 0 else "start" for number, at in enumerate(points)}


@pytest.mark.slow
@pytest.mark.workerd
@pytest.mark.parametrize("engine", ["peer", "workerd"])
def test_a_replica_that_is_killed_again_and_again_misses_nothing(
    tmp_path: Path, engine: str
) -> None:
    seed = 2026
    victim: ReplicaProcess = PeerProcess(tmp_path / "victim")
    if engine == "workerd":
        workerd.require()
        victim = workerd.WorkerdProcess(tmp_path / "victim")
    with (
        Primary(tmp_path / "primary.db", SCHEMA) as primary,
        peers(tmp_path, 1) as (other,),
        victim,
    ):
        prepare(SCHEMA, victim, other)
        with connect(victim, other) as replicator:
            load = Load(primary, replicator, seed)
            schedule = _schedule(random.Random(seed))
            for number in range(WRITES):
                load.write()
                match schedule.get(number):
                    case "kill":
                        # Writes are under way: the window is never empty.
                        victim.kill()
                    case "start":
                        victim.start()
                if victim.running():
                    load.calm(25)
            load.settle()
            stats = of(replicator, victim.name)
            assert stats.retries >= KILLS, stats
            assert of(replicator, other.name).retries == 0
            attempts = [
                {o.replica: o.attempts for o in replication.outcomes}
                for replication in load.replications
            ]
            assert max(tried[victim.name] for tried in attempts) > 1
            assert {tried[other.name] for tried in attempts} == {1}
        assert_same(primary, victim, other)


def test_without_a_disturbance_each_write_is_sent_once(tmp_path: Path) -> None:
    with Primary(tmp_path / "primary.db", SCHEMA) as primary, peers(tmp_path, 3) as processes:
        prepare(SCHEMA, *processes)
        with connect(*processes) as replicator:
            load = Load(primary, replicator, 1)
            for _ in range(500):
                load.write()
            load.settle()
            assert {o.attempts for r in load.replications for o in r.outcomes} == {1}
            assert [stats.retries for stats in replicator.stats().replicas] == [0, 0, 0]
        assert_same(primary, *processes)


ALONE: dict[str, list[faults.Fault]] = {
    "delay": [faults.Pass(0.02)],
    "cut before the request": [faults.CutBeforeRequest()],
    "cut after the request": [faults.CutAfterRequest()],
    "cut in the answer": [faults.CutInAnswer()],
    "429": [faults.Answer(429, "slow down")],
    "429 and when to come back": [faults.Answer(429, retry_after="0")],
    "500": [faults.Answer(500, "<h1>Internal Server Error</h1>", content_type="text/html")],
    "500 in JSON": [faults.error("internal error; reference = 1234")],
    "500 and when to come back": [faults.error("internal error", 500, "0")],
    "502": [faults.Answer(502, "<h1>Bad Gateway</h1>", content_type="text/html")],
    "503": [faults.Answer(503, "")],
    "503 and when to come back": [
        faults.Answer(503, "", "0"),
        faults.Answer(503, "", "Wed, 21 Oct 2015 07:28:00 GMT"),
        faults.Answer(503, "", "as soon as you like"),
    ],
    "504": [faults.Answer(504, "upstream timed out")],
    "overloaded": [faults.error("Durable Object is overloaded.", 400)],
    "storage reset": [faults.error("Durable Object storage is no longer accessible.")],
    "disk full": [faults.error("database or disk is full: SQLITE_FULL")],
    "HTML instead of JSON": [faults.HTML],
    "another JSON": [faults.Answer(200, '{"ok": true}'), faults.Answer(200, "[1, 2")],
    "hang before the request": [faults.Hang()],
    "hang after the request": [faults.Hang(forward=True)],
}


@pytest.mark.parametrize("kind", ALONE)
def test_a_fault_on_the_way_changes_nothing(tmp_path: Path, kind: str) -> None:
    hangs = kind.startswith("hang")
    share = 0.1 if hangs else 0.4
    with (
        Primary(tmp_path / "primary.db", SCHEMA) as primary,
        peers(tmp_path, 1) as (process,),
        Proxy(process.url, faults.mixture(7, ALONE[kind], share)) as proxy,
    ):
        prepare(SCHEMA, process)
        target = replica(process, url=proxy.url)
        with connect(target, request_timeout=0.15 if hangs else 5, retry_max=0.02) as replicator:
            load = Load(primary, replicator, 11)
            load.write_many(150, window=3)
            load.settle()
        assert proxy.seen[type(ALONE[kind][0])] >= 5, proxy.seen
        assert_same(primary, process)


ANSWERS = [fault for kind in ALONE.values() for fault in kind if isinstance(fault, faults.Answer)]
CUTS: list[faults.Fault] = [
    faults.CutBeforeRequest(),
    faults.CutAfterRequest(),
    faults.CutInAnswer(),
]
ALL: list[faults.Fault] = [
    *ANSWERS,
    *(CUTS * 5),
    faults.Hang(),
    faults.Hang(forward=True),
]


@pytest.mark.slow
@pytest.mark.workerd
def test_all_faults_together_change_nothing(tmp_path: Path) -> None:
    seed = 3
    with (
        Primary(tmp_path / "primary.db", SCHEMA) as primary,
        both_engines(tmp_path) as processes,
        ExitStack() as stack,
    ):
        prepare(SCHEMA, *processes)
        proxies = []
        for number, process in enumerate(processes):
            plan = faults.mixture(seed + number, ALL, 0.3, faults.jitter(seed))
            proxies.append(stack.enter_context(Proxy(process.url, plan)))
        targets = [
            replica(process, url=proxy.url)
            for process, proxy in zip(processes, proxies, strict=True)
        ]
        with connect(*targets, request_timeout=0.4, retry_max=0.05) as replicator:
            load = Load(primary, replicator, seed)
            load.write_many(WRITES, window=25)
            load.settle()
        for proxy in proxies:
            kinds = {type(fault) for fault in ALL}
            assert kinds <= proxy.seen.keys(), proxy.seen
        assert_same(primary, *processes)


def test_a_retry_after_is_kept_to(tmp_path: Path) -> None:
    """The one place where a clock is read: what was asked for is the least that is waited."""
    with (
        Primary(tmp_path / "primary.db", SCHEMA) as primary,
        peers(tmp_path, 1) as (process,),
        Proxy(process.url) as proxy,
    ):
        prepare(SCHEMA, process)
        with connect(replica(process, url=proxy.url)) as replicator:
            load = Load(primary, replicator, 5)
            load.write_many(1)
            load.settle()
            proxy.plan = faults.in_turn(faults.Answer(503, "", retry_after="1"))
            load.write()
            (outcome,) = load.replications[-1].wait(30)
            assert outcome.attempts == 2
            assert outcome.latency >= 1.0
        assert_same(primary, process)
