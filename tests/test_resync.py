"""What `resume()` and `replay()` may never do: lose a write, apply one twice, or be ignored."""

from __future__ import annotations

from contextlib import suppress

import pytest

from afterquery import JournalError, Replicator
from replication.site import Site, look, write
from replication.world import TIMEOUT, fulfilled, of, prepare, settled, until
from support import faults
from support.mounts import small_disk
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
