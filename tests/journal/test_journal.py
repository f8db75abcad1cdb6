"""Writes that outlive the process that made them."""

from __future__ import annotations

import threading

import pytest

from afterquery import NotSettledError
from replication.site import Site, look, write
from replication.world import TIMEOUT, fulfilled, of, until

SAFE = ["process", "disk"]


@pytest.mark.parametrize("durability", SAFE)
def test_what_after_query_returned_survives_a_kill(site: Site, durability: str) -> None:
    site.down()
    code = f"""
        replicator = connect(durability="{durability}")
        for k in range(300):
            write(replicator, "dead", k)
        die()
    """
    assert site.program(code).end() == -9
    site.up()
    site.deliver()
    assert site.written(0) == site.written(1) == list(range(300))


@pytest.mark.parametrize("durability", SAFE)
@pytest.mark.parametrize("threads", [1, 4])
def test_a_kill_at_any_moment_loses_nothing_that_was_returned(
    site: Site, durability: str, threads: int
) -> None:
    """While it delivers: nothing twice either, and the order of each thread stays."""
    code = f"""
        replicator = connect(durability="{durability}")

        def work(who):
            for k in range(100_000):
                write(replicator, who, k)
                say(who, k)

        for number in range({threads}):
            threading.Thread(target=work, args=(f"thread-{{number}}",)).start()
    """
    with site.program(code) as program:
        until(lambda: len(program.lines) > 500, "it is at work")
    said = [line.split() for line in program.lines]
    assert site.files(), "it was killed, and left its journal"
    site.deliver()
    for number in range(threads):
        who = f"thread-{number}"
        returned = [int(k) for name, k in said if name == who]
        arrived = site.written(0, who)
        assert arrived == site.written(1, who) == list(range(len(arrived)))
        # The last one may have got into the file before it was told.
        assert len(returned) <= len(arrived) <= len(returned) + 1


def test_async_says_how_much_is_not_in_the_file_yet(site: Site) -> None:
    """And `sync` waits for it."""
    site.down()
    code = """
        replicator = connect()
        for k in range(5_000):
            write(replicator, "dead", k)
        assert replicator.sync()
        assert replicator.stats().unsaved == 0
        die()
    """
    assert site.program(code).end() == -9
    site.up()
    site.deliver()
    assert site.written() == list(range(5_000))


def test_what_a_dead_process_left_comes_before_new_writes(site: Site) -> None:
    site.leave("dead", 50)
    with site.connect() as replicator:
        fulfilled(write(replicator, "new", 0))
    assert site.order(0) == site.order(1) == ["dead"] * 50 + ["new"]
    assert site.files() == []


def test_several_dead_processes_are_delivered_in_the_order_of_their_starts(site: Site) -> None:
    for number in range(4):
        # Each finds those before it, and leaves them as they are: no replica answers.
        site.leave(f"dead-{number}", 20)
    assert len(site.files()) == 4
    site.deliver()
    expected = [f"dead-{number}" for number in range(4) for _ in range(20)]
    assert site.order(0) == site.order(1) == expected


def test_replicas_do_not_wait_for_each_other_with_what_was_left(site: Site) -> None:
    site.leave("dead", 10)
    site.down(1)
    replicator = site.connect()
    write(replicator, "new", 0)
    until(lambda: len(site.written(0)) == 11, "the first replica has everything")
    assert of(replicator, "peer-1").pending == 11
    assert len(site.files()) == 2
    replicator.close(0)
    site.up()
    site.deliver()
    assert site.order(1) == ["dead"] * 10 + ["new"]
    assert site.order(0) == ["dead"] * 10 + ["new"], "nothing twice"


def test_flush_waits_for_what_was_left(site: Site) -> None:
    site.leave("dead", 10)
    site.down()
    with site.connect() as replicator:
        assert not replicator.flush(0.05)
        stats = replicator.stats()
        assert (stats.writes, stats.pending, stats.unsaved) == (0, 10, 0)
        for replica in stats.replicas:
            assert replica.pending == 10
            assert replica.pending_bytes > 0
            assert replica.lag > 0
        site.up()
        assert replicator.flush(TIMEOUT)
        assert [replica.lag for replica in replicator.stats().replicas] == [0, 0]
    assert site.written() == list(range(10))


def test_the_journal_is_empty_when_everything_is_settled(site: Site) -> None:
    with site.connect() as replicator:
        for k in range(2_000):
            write(replicator, "one", k)
        assert replicator.flush(TIMEOUT)
        stats = replicator.stats()
        assert (stats.pending, stats.pending_bytes, stats.unsaved) == (0, 0, 0)
        assert stats.journal_problem is None
    assert list(site.journal.iterdir()) == []


def test_a_handle_says_that_the_next_process_delivers(site: Site) -> None:
    site.down(1)
    replicator = site.connect()
    replication = write(replicator, "one", 0)
    until(lambda: replication.outcomes, "the first replica has it")
    replicator.close(0)
    with pytest.raises(NotSettledError, match=r"peer-1 \(closed: .*next process"):
        replication.wait(TIMEOUT)
    assert [outcome.replica for outcome in replication.outcomes] == ["peer-0"]


def test_a_waiter_is_told_when_the_replicator_closes(site: Site) -> None:
    """Whoever waits without a deadline must not wait for a process that is not there yet."""
    site.down()
    replicator = site.connect()
    replication = write(replicator, "one", 0)
    ended = threading.Event()

    def wait() -> None:
        try:
            replication.wait()
        except NotSettledError:
            pass
        finally:
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    replicator.close(0)
    assert ended.wait(TIMEOUT)
    thread.join()


def test_a_restart_after_every_stage_of_the_first_text(site: Site) -> None:
    """Killed before it is reached, with a text under way, and after: each time exactly once."""
    from support import faults

    stages: list[faults.Fault] = [
        faults.CutBeforeRequest(),
        faults.Hang(),
        faults.Hang(forward=True),
        faults.CutAfterRequest(),
        faults.Pass(),
    ]
    for number, fault in enumerate(stages):
        for proxy in site.proxies:
            # The handshake passes, the text meets the fault.
            proxy.plan = faults.in_turn(faults.Pass(), *[fault] * 50)
        before = sum(len(proxy.requests) for proxy in site.proxies)
        code = f"replicator = connect(durability='process'); write(replicator, 'dead', {number})"
        with site.program(code + "\ntime.sleep(60)", f"stage-{number}"):
            until(
                lambda: sum(len(p.requests) for p in site.proxies) >= before + 4,  # noqa: B023
                "the text was sent",
            )
        site.up()
        site.deliver()
    assert site.written(0) == site.written(1) == list(range(len(stages)))


def test_the_file_can_be_looked_into_with_sqlite(site: Site) -> None:
    file = site.leave("dead", 3)
    statements = [sql for (sql,) in look(file, "SELECT body FROM writes ORDER BY seq")]
    assert statements == [f"INSERT INTO log (who, k) VALUES ('dead', {k})" for k in range(3)]
    site.deliver()
