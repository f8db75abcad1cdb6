"""What `resume()` and `replay()` may never do: lose a write, apply one twice, or be ignored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from afterquery import JournalError, Replica, Replication, Replicator
from replication.site import SCHEMA, Site, look, write
from replication.world import TIMEOUT, connect, fulfilled, of, prepare, settled, until
from support import faults
from support.mounts import small_disk
from support.peer import PeerProcess
from support.proxy import Proxy
from support.wire import Message

NAME = "peer-0"


def _move_watermark(site: Site, number: int = 0) -> None:
    """What a backup that was restored does."""
    site.peers[number].client().run("UPDATE tmp_afterquery_watermark SET chain = chain + 1")


def _copied(site: Site, rows: list[int]) -> None:
    """The replica is as the primary is."""
    client = site.peers[0].client()
    client.run("DELETE FROM log; DROP TABLE IF EXISTS tmp_afterquery_watermark")
    for k in rows:
        client.run(f"INSERT INTO log (who, k) VALUES ('copy', {k})")


def _stopped(replicator: Replicator, state: str) -> None:
    until(lambda: of(replicator, NAME).state == state, f"it is {state}")


def _one(site: Site, **settings: object) -> Replicator:
    return site.connect(**{"durability": "process"} | settings)


@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_what_was_rejected_before_a_copy_is_in_the_copy(site: Site, journal: str) -> None:
    settings = {} if journal == "disk" else {"journal": None, "durability": "async"}
    with _one(site, **settings) as replicator:
        prepare("ALTER TABLE log RENAME TO away", site.peers[0])
        assert settled(write(replicator, "a", 0))[NAME].status == "rejected"
        prepare("ALTER TABLE away RENAME TO log", site.peers[0])
        assert len(replicator.dead_letters()) == 1
        _move_watermark(site)
        write(replicator, "a", 1)
        _stopped(replicator, "diverged")
        _copied(site, [0, 1])
        replicator.resume(NAME)
        fulfilled(write(replicator, "a", 2))
        assert replicator.dead_letters() == []
        assert replicator.replay() == []
        assert replicator.flush(TIMEOUT)
    assert site.written(0) == [0, 1, 2]


def test_what_dead_processes_left_before_a_copy_is_in_the_copy(site: Site) -> None:
    with _one(site) as replicator:
        fulfilled(write(replicator, "a", 0))
        _move_watermark(site)
        write(replicator, "a", 1)
        _stopped(replicator, "diverged")
        # Nobody has adopted it yet.
        site.program(
            "replicator = connect(durability='process'); write(replicator, 'dead', 2); die()"
        ).end()
        _copied(site, [0, 1, 2])
        replicator.resume(NAME)
        fulfilled(write(replicator, "a", 3))
        assert replicator.flush(TIMEOUT)
    site.deliver()
    assert site.written(0) == [0, 1, 2, 3]
    assert sorted(site.written(1)) == [0, 1, 2, 3]


@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_resumed_twice_it_gets_what_came_in_between(site: Site, journal: str) -> None:
    settings = {} if journal == "disk" else {"journal": None, "durability": "async"}
    with _one(site, **settings) as replicator:
        fulfilled(write(replicator, "a", 0))
        _move_watermark(site)
        for k in range(1, 20_000):
            write(replicator, "a", k)
        _stopped(replicator, "diverged")
        _copied(site, [])
        replicator.resume(NAME)
        between = [write(replicator, "b", k) for k in range(20)]
        replicator.resume(NAME)
        for handle in between:
            fulfilled(handle)
        # It runs: there is nothing to resume.
        replicator.resume(NAME, skip=True)
        fulfilled(write(replicator, "b", 20))
    assert site.written(0, "b") == list(range(21))


def _refuses(word: bytes) -> faults.Plan:
    """What takes longer than somebody on the way allows."""

    def plan(message: Message) -> faults.Fault:
        poisoned = word in message.body
        return faults.error("ran longer than max_seconds", 503) if poisoned else faults.Pass()

    return plan


@pytest.mark.parametrize("on_reject", ["dead_letter", "halt"])
def test_a_write_that_never_gets_through_is_skipped(site: Site, on_reject: str) -> None:
    with _one(site, on_reject=on_reject) as replicator:
        fulfilled(write(replicator, "a", 0))
        site.proxies[0].plan = _refuses(b"poison")
        stuck = write(replicator, "poison", 1)
        behind = [write(replicator, "a", k) for k in range(2, 5)]
        until(lambda: of(replicator, NAME).reason is not None, "it retries")
        replicator.resume(NAME)
        assert not stuck.settled
        _stopped(replicator, "retrying")
        replicator.resume(NAME, skip=True)
        outcome = settled(stuck)[NAME]
        assert outcome.status == "rejected"
        for handle in behind:
            fulfilled(handle)
        (letter,) = replicator.dead_letters()
        assert letter.seq == stuck.seq
        assert "max_seconds" in letter.reason
        site.proxies[0].set(faults.Pass())
        fulfilled(replicator.replay()[0])
    assert site.written(0) == [0, 2, 3, 4, 1]


def _value(replicator: Replicator) -> Replication:
    """One value that is sent ahead where a text is too long."""
    return write(replicator, "a" * 250_000 + "poison", 1)


def _statements(replicator: Replicator) -> Replication:
    """More statements than one text takes; what is shorter stands for them."""
    return _many(replicator)


def _parts(replicator: Replicator) -> Replication:
    """The same in parts: where the schema changes, nothing may stand for them."""
    return _many(replicator, "CREATE TABLE IF NOT EXISTS more (a)")


def _many(replicator: Replicator, *before: str) -> Replication:
    with replicator.transaction() as transaction:
        for sql in before:
            transaction.after_query(sql)
        for k in range(1, 13):
            who = "poison" * 4_000 if k == 9 else "a" * 20_000
            transaction.after_query("INSERT INTO log (who, k) VALUES (?, ?)", (who, k), 1)
            transaction.after_query("UPDATE log SET who = who || 'b' WHERE k = ?", (k,), 1)
    assert transaction.replication is not None
    return transaction.replication


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize(("shape", "rows"), [(_value, 1), (_statements, 12), (_parts, 12)])
def test_a_write_too_long_for_one_text_is_skipped(
    narrow: bool,
    shape: Callable[[Replicator], Replication],
    rows: int,
    site: Site,
    tmp_path: Path,
) -> None:
    """What of it was applied before stays, and its letter holds the rest."""
    with ExitStack() as stack:
        peer = site.peers[0]
        if narrow:
            peer = stack.enter_context(PeerProcess(tmp_path / "narrow", like_starbasedb=True))
            prepare(SCHEMA, peer)
        proxy = stack.enter_context(Proxy(peer.url))
        replica = Replica(proxy.url, name=NAME)
        settings = {"journal": site.journal, "durability": "process", "ddl": True}
        replicator = stack.enter_context(connect(replica, **settings))
        fulfilled(write(replicator, "a", 0))
        proxy.plan = _refuses(b"poison")
        stuck = shape(replicator)
        behind = write(replicator, "a", rows + 1)
        _stopped(replicator, "retrying")
        replicator.resume(NAME, skip=True)
        outcome = settled(stuck)[NAME]
        assert outcome.status == "rejected"
        assert ("stay applied" in str(outcome.reason)) == (shape is _parts)
        fulfilled(behind)
        proxy.set(faults.Pass())
        fulfilled(replicator.replay()[0])
        found = peer.client().rows("SELECT k, count(*), max(length(who)) FROM log GROUP BY k")
        assert [(k, count) for k, count, _ in found] == [(k, 1) for k in range(rows + 2)]
        assert replicator.dead_letters() == []


def test_a_replica_that_is_down_loses_nothing_by_skip(site: Site) -> None:
    """What was not sent by itself since, and failed, is not given up."""
    with _one(site) as replicator:
        fulfilled(write(replicator, "a", 0))
        site.down(0)
        for k in range(1, 4):
            write(replicator, "a", k)
        _stopped(replicator, "retrying")
        replicator.resume(NAME, skip=True)
        site.up(0)
        assert replicator.flush(TIMEOUT)
        assert replicator.dead_letters() == []
    assert site.written(0) == [0, 1, 2, 3]


def test_a_disk_that_fills_during_replay_doubles_nothing(site: Site) -> None:
    """The letters stay, and nothing is sent from memory in their place."""
    with small_disk(site.journal, 2_048) as disk:
        replicator = _one(site)
        prepare("ALTER TABLE log RENAME TO away", site.peers[0])
        for k in range(300):
            assert settled(write(replicator, "a" * 1_000, k))[NAME].status == "rejected"
        prepare("ALTER TABLE away RENAME TO log", site.peers[0])
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4_096)
        with pytest.raises(JournalError, match="nothing was replayed"):
            replicator.replay()
        assert len(replicator.dead_letters()) == 300
        fulfilled(write(replicator, "b", 0))
        assert site.written(0) == [0]
        filler.unlink()
        until(lambda: replicator.stats().journal_problem is None, "there is room again", 10)
        handles = replicator.replay()
        assert replicator.flush(TIMEOUT)
        assert {settled(handle)[NAME].status for handle in handles} == {"fulfilled"}
        assert replicator.close(5)
        assert site.files() == []
    assert site.written(0, "a%") == list(range(300))


def test_a_letter_is_in_one_file_only(site: Site) -> None:
    """Moved from the journal of a dead process, and replayed before that one is gone."""
    code = """
        replicator = connect(durability="process")
        write(replicator, "dead", 0).wait(30)
        assert len(replicator.dead_letters()) == 1
        die()
    """
    prepare("ALTER TABLE log RENAME TO away", site.peers[0])
    site.program(code).end()
    prepare("ALTER TABLE away RENAME TO log", site.peers[0])
    (file,) = site.files()
    assert look(file, "SELECT count(*) FROM dead_letters") == [(1,)]
    with _one(site) as replicator:
        assert len(replicator.dead_letters()) == 1
        letters = [look(file, "SELECT count(*) FROM dead_letters")[0][0] for file in site.files()]
        assert sum(letters) == 1
        fulfilled(replicator.replay()[0])
    assert site.written(0) == [0]
