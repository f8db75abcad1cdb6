"""What is bounded while replicas are down: memory, the file, and who gives way."""

from __future__ import annotations

import sys
import textwrap

import pytest

from afterquery import Replication, Replicator
from replication.site import Site, edit, look, write
from replication.world import TIMEOUT, connect, fulfilled, of, until
from support import faults

MANY = 100_000

RSS_PER_MIB = 1 << 20 if sys.platform == "darwin" else 1 << 10
"""`ru_maxrss` is in bytes there and in KiB elsewhere (man 2 getrusage)."""

WRITE_MANY = f"""
replicator = connect()
first = write(replicator, "first", 0)
for k in range(20_000):
    write(replicator, "many", k)
assert replicator.sync()
say("window is full", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
for k in range(20_000, {MANY}):
    write(replicator, "many", k)
assert replicator.sync()
last = write(replicator, "last", 0)
say("paged out", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
stats = replicator.stats()
assert stats.pending == {MANY} + 2, stats.pending
assert stats.replicas[1].pending == {MANY} + 2
"""


@pytest.mark.slow
def test_memory_is_bounded_while_a_replica_is_down_and_handles_settle_after(site: Site) -> None:
    """The other replica gets everything meanwhile; the last one gets it from the file."""
    site.down(1)
    code = """
        fulfilled_on = lambda handle: {o.replica: o.status for o in handle.outcomes}
        until = time.monotonic() + 60
        while replicator.stats().replicas[0].pending:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert fulfilled_on(first) == {"peer-0": "fulfilled"}
        say("now")
        assert replicator.flush(60), replicator.stats().replicas
        # Made long before it was paged out, and all the same the one object.
        both = {"peer-0": "fulfilled", "peer-1": "fulfilled"}
        assert fulfilled_on(first) == fulfilled_on(last) == both
        assert replicator.stats().pending == 0
        assert replicator.close(5)
    """
    with site.program("import resource\n" + WRITE_MANY + textwrap.dedent(code)) as program:
        program.expect("now")
        site.up()
        program.succeed()
    window, paged = (int(line.split()[-1]) for line in program.lines[:2])
    assert paged - window < 30 * RSS_PER_MIB, "80,000 further writes took more than 30 MiB"
    assert site.written(0) == site.written(1) == [0, *range(MANY), 0]
    assert site.files() == []


@pytest.mark.slow
def test_a_backlog_of_a_dead_process_is_not_read_into_memory_at_once(site: Site) -> None:
    site.down(1)
    assert site.program("import resource\n" + WRITE_MANY + "replicator.sync(); die()").end() == -9
    code = f"""
        import resource
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        replicator = connect()
        assert replicator.stats().replicas[1].pending == {MANY} + 2
        say("now")
        assert replicator.flush(60)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 40 * {RSS_PER_MIB}, grown
        assert replicator.close(5)
    """
    with site.program(code) as program:
        program.expect("now")
        site.up()
        program.succeed()
    assert site.written(1) == [0, *range(MANY), 0]


def test_at_max_journal_bytes_the_replica_that_is_behind_is_detached(site: Site) -> None:
    """Never the healthy one, and never the caller."""
    site.down(1)
    replicator = site.connect(max_journal_bytes=20_000)
    handles = [settled_on_the_first(replicator, k) for k in range(300)]
    outcomes = [{o.replica: o for o in handle.wait(TIMEOUT)} for handle in handles]
    assert {by["peer-0"].status for by in outcomes} == {"fulfilled"}
    assert {by["peer-1"].status for by in outcomes} == {"rejected"}
    assert all((by["peer-1"].reason or "").startswith("detached: ") for by in outcomes)
    assert of(replicator, "peer-1").state == "detached"
    assert of(replicator, "peer-0").state == "live"
    assert replicator.close(5)
    assert site.written(0) == list(range(300))


def test_a_slow_replica_is_not_detached_with_one_that_is_down(site: Site) -> None:
    """It is far from the limit."""
    site.down(1)
    site.proxies[0].set(faults.Pass(0.02))
    replicator = site.connect(max_journal_bytes=200_000)
    for k in range(5_000):
        write(replicator, "one", k)
        if k % 50 == 0:
            until(lambda: of(replicator, "peer-0").pending < 50, "the first keeps up")
        if of(replicator, "peer-1").state == "detached":
            break
    states = [replica.state for replica in replicator.stats().replicas]
    replicator.close(5)
    assert states == ["live", "detached"]


def test_detached_survives_a_restart_and_ends_with_resume(site: Site) -> None:
    site.down(1)
    replicator = site.connect(max_journal_bytes=2_000)
    for k in range(50):
        settled_on_the_first(replicator, k)
    until(lambda: of(replicator, "peer-1").state == "detached", "it is detached")
    assert replicator.close(5)
    site.up()

    replicator = site.connect()
    until(lambda: of(replicator, "peer-1").state == "detached", "it still is")
    (_, outcome) = write(replicator, "between", 0).wait(TIMEOUT)
    assert (outcome.replica, outcome.status) == ("peer-1", "rejected")
    site.peers[1].client().run("DELETE FROM log")
    replicator.resume("peer-1")
    fulfilled(write(replicator, "new", 0))
    assert replicator.close(5)

    site.deliver()
    assert site.order(1) == ["new"]
    assert site.order(0) == ["old"] * 50 + ["between", "new"]


def test_restarts_with_a_detached_replica_do_not_gather_files(site: Site) -> None:
    site.down(1)
    replicator = site.connect(max_journal_bytes=1_000)
    for k in range(10):
        settled_on_the_first(replicator, k)
    until(lambda: of(replicator, "peer-1").state == "detached", "it is detached")
    replicator.close(1)
    for _ in range(3):
        site.connect().close(1)
    assert len(site.files()) <= 2


def settled_on_the_first(replicator: Replicator, k: int) -> Replication:
    handle = write(replicator, "old", k)
    until(lambda: "peer-0" in {o.replica for o in handle.outcomes}, "the first has it")
    return handle


def test_many_dead_processes_do_not_keep_a_new_one_from_starting(site: Site) -> None:
    """Workers that are restarted again and again while a replica is down."""
    site.down()
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
        for k in range(40):
            replicator = connect(durability="process")
            write(replicator, "dead", k)
            replicator.close(0)
    """
    site.program(code).succeed()
    site.up()
    site.deliver()
    assert site.written() == list(range(40))


def test_a_replica_that_is_no_longer_there_does_not_fill_the_disk(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes after what it lacks is kept for it, too, up to a bound."""
    first, _ = site.replicas
    site.down(1)
    replicator = site.connect(origin="named")
    write(replicator, "both", 0)
    replicator.close(0)
    site.up()
    settings = {"journal": site.journal, "origin": "named", "max_journal_bytes": 200_000}
    with connect(first, **settings) as replicator:
        for begin in range(0, 4_000, 500):
            for k in range(begin, begin + 500):
                write(replicator, "one" * 30, k)
            assert replicator.flush(TIMEOUT)
            if begin == 0:
                assert "given up" not in caplog.text
        fulfilled(write(replicator, "one", 4_000))
        until(lambda: "they are given up" in caplog.text, "it is told")
    (file,) = site.files()
    ((left,),) = look(file, "SELECT count(*) FROM writes")
    assert left < 10
    assert site.written(0, "one%") == list(range(4_001))


def test_a_number_that_a_replica_has_is_never_given_again(site: Site) -> None:
    """A full disk can keep a write out of the file and let its replica's position in."""
    replicator = site.connect(origin="named")
    for k in range(1, 4):
        fulfilled(write(replicator, "old", k))
    site.down()
    write(replicator, "kept", 4)
    replicator.close(0)
    site.up()
    (file,) = site.files()
    ((position,),) = look(file, "SELECT max(position) FROM replicas")
    edit(file, "DELETE FROM writes; UPDATE origin SET last = 1;")
    file.with_suffix(".lock").unlink()
    replicator = site.connect(origin="named")
    new = write(replicator, "new", 0)
    assert new.seq == position + 1
    new.wait(2)
    replicator.close(5)
