"""A replica or a journal that is not the one it was: noticed, and nothing is applied twice."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from afterquery import Replica, ReplicaStats, Replicator
from replication.site import SCHEMA, Site, proxied_peers, write
from replication.world import connect, fulfilled, of, prepare, until
from support import faults
from support.peer import PeerProcess

MOVED = "diverged: the replica's watermark was moved by someone else"
GONE = "diverged: the replica's watermark is gone"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Replicas of one test's own: they are damaged here."""
    with proxied_peers(tmp_path, 2) as running:
        yield Site(tmp_path, *running)


def _diverged(replicator: Replicator, name: str, why: str) -> None:
    until(lambda: of(replicator, name).state == "diverged", f"{name} is diverged")
    stats = of(replicator, name)
    assert (stats.reason or "").startswith(why), stats.reason
    assert stats.diverged


def _nothing_more(site: Site, replicator: Replicator, number: int) -> None:
    """Not until it is resumed; then what is written after that."""
    before = site.written(number)
    handle = write(replicator, "stopped", 0)
    until(lambda: len(handle.outcomes) >= 1, "the other replica has it")
    assert site.written(number) == before
    replicator.resume(f"peer-{number}")
    fulfilled(write(replicator, "resumed", 1))
    assert site.written(number) == [*before, 1]


@contextmanager
def _stopped(peer: PeerProcess) -> Iterator[None]:
    """While its file is replaced; the -wal file is part of it."""
    peer.stop()
    yield
    peer.start()


def _backup(peer: PeerProcess, folder: Path) -> None:
    folder.mkdir()
    with _stopped(peer):
        for path in peer.folder.glob("copy.db*"):
            shutil.copy(path, folder / path.name)


def _restore(peer: PeerProcess, folder: Path) -> None:
    with _stopped(peer):
        for path in peer.folder.glob("copy.db*"):
            path.unlink()
        for path in folder.glob("copy.db*"):
            shutil.copy(path, peer.folder / path.name)


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "next process"])
def test_a_replica_restored_from_a_backup(site: Site, restart: bool) -> None:
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    _backup(site.peers[0], site.folder / "backup")
    fulfilled(write(replicator, "one", 1))
    if restart:
        site.down()
        write(replicator, "one", 2)
        replicator.close(0)
    _restore(site.peers[0], site.folder / "backup")
    site.up()
    if restart:
        replicator = site.connect()
    else:
        write(replicator, "one", 2)
    _diverged(replicator, "peer-0", MOVED)
    _nothing_more(site, replicator, 0)
    assert of(replicator, "peer-1").state == "live"
    replicator.close(5)
    assert site.written(1)[:3] == [0, 1, 2]


def test_a_replica_that_is_ahead(site: Site) -> None:
    """The journal was restored from a backup."""
    site.down()
    first = site.connect()
    write(first, "one", 0)
    site.up()
    first.flush(30)
    site.down()
    write(first, "one", 1)
    first.close(0)
    shutil.copytree(site.journal, site.folder / "backup")
    site.up()
    site.deliver()
    shutil.copytree(site.folder / "backup", site.journal, dirs_exist_ok=True)
    with site.connect() as replicator:
        _diverged(replicator, "peer-0", MOVED)
        _diverged(replicator, "peer-1", MOVED)
    assert site.written(0) == site.written(1) == [0, 1]


@pytest.mark.parametrize(
    "reset",
    [
        "DROP TABLE tmp_afterquery_watermark",
        "DELETE FROM tmp_afterquery_watermark",
        "a new file",
    ],
)
def test_a_replica_that_was_reset(site: Site, reset: str) -> None:
    peer = site.peers[0]
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    if reset == "a new file":
        _restore(peer, site.folder / "no backup")
        prepare(SCHEMA, peer)
    else:
        peer.client().run(reset)
    write(replicator, "one", 1)
    _diverged(replicator, "peer-0", GONE)
    _nothing_more(site, replicator, 0)
    replicator.close(5)


def test_a_replica_that_is_reset_while_nothing_runs(site: Site) -> None:
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    site.down()
    write(replicator, "one", 1)
    replicator.close(0)
    site.up()
    prepare("DROP TABLE tmp_afterquery_watermark", *site.peers)
    with site.connect() as replicator:
        _diverged(replicator, "peer-0", GONE)
    assert site.written() == [0]


def test_two_replicas_with_their_files_swapped(site: Site) -> None:
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    one, two = site.peers
    _backup(one, site.folder / "one")
    _backup(two, site.folder / "two")
    _restore(one, site.folder / "two")
    _restore(two, site.folder / "one")
    write(replicator, "one", 1)
    _diverged(replicator, "peer-0", MOVED)
    _diverged(replicator, "peer-1", MOVED)
    replicator.close(0)
    assert site.written(0) == site.written(1) == [0]


def test_two_replicas_with_their_addresses_swapped(site: Site) -> None:
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    site.down()
    write(replicator, "one", 1)
    replicator.close(0)
    site.up()
    site.proxies.reverse()
    with site.connect() as replicator:
        _diverged(replicator, "peer-0", MOVED)
        _diverged(replicator, "peer-1", MOVED)
    assert site.written(0) == site.written(1) == [0]


def _copied(site: Site) -> Path:
    return Path(shutil.copytree(site.journal, site.folder / "copy"))


def test_a_journal_copied_before_the_first_send(site: Site) -> None:
    site.leave("dead", 5)
    copy = _copied(site)
    site.deliver()
    replicator = site.connect(journal=copy)
    replicator.flush(2)
    replicator.close(0)
    assert site.written(0) == site.written(1) == list(range(5))


def test_a_journal_copied_on_the_way(site: Site) -> None:
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    site.down()
    for k in range(1, 5):
        write(replicator, "one", k)
    replicator.close(0)
    copy = _copied(site)
    site.up()
    site.deliver()
    with site.connect(journal=copy) as replicator:
        _diverged(replicator, "peer-0", MOVED)
        _diverged(replicator, "peer-1", MOVED)
    assert site.written(0) == site.written(1) == list(range(5))


def test_a_journal_copied_on_the_way_and_both_run_at_once(site: Site) -> None:
    """Each replica takes one of the two, whoever comes first, and each write once."""
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    site.down()
    for k in range(1, 300):
        write(replicator, "one", k)
    replicator.close(0)
    copy = _copied(site)
    one, two = site.connect(), site.connect(journal=copy)
    site.up()
    for number in range(2):
        name = f"peer-{number}"
        until(
            lambda: "diverged" in {of(one, name).state, of(two, name).state},  # noqa: B023
            "one of the two is told",
        )
        until(lambda: len(site.written(number)) == 300, "the other delivers")  # noqa: B023
        assert {of(one, name).state, of(two, name).state} == {"diverged", "live"}
        assert site.written(number) == list(range(300))
    one.close(0)
    two.close(0)


def test_a_journal_copied_with_a_text_under_way(site: Site) -> None:
    """Both know the text; it runs once, and both learn it from the row."""
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    for proxy in site.proxies:
        proxy.set(faults.Hang(forward=True))
    write(replicator, "one", 1)
    until(lambda: site.written(0) == site.written(1) == [0, 1], "the text has run")
    replicator.close(0)
    copy = _copied(site)
    site.up()
    site.deliver()
    with site.connect(journal=copy) as replicator:
        assert replicator.flush(30)
        assert replicator.stats().replicas[0].state == "live"
    assert site.written(0) == site.written(1) == [0, 1]


def test_a_copy_of_a_journal_that_turns_up_after_the_end(site: Site) -> None:
    """Its row stays on the replicas for a while, for this."""
    replicator = site.connect()
    fulfilled(write(replicator, "one", 0))
    site.down()
    write(replicator, "one", 1)
    replicator.close(0)
    copy = _copied(site)
    site.up()
    site.deliver()
    # Others come and go meanwhile, and tidy up.
    for k in range(2, 5):
        with site.connect() as replicator:
            fulfilled(write(replicator, "other", k))
    with site.connect(journal=copy) as replicator:
        _diverged(replicator, "peer-0", MOVED)
    assert site.written(0) == site.written(1) == list(range(5))


def test_a_process_that_is_resumed_twice(site: Site) -> None:
    """A snapshot of a container: its files are copied while it stands still, and both go on."""
    code = """
        replicator = connect(durability="process", origin="snapshot")
        for k in range(1_000_000):
            write(replicator, os.environ["WHO"], k)
            if k % 20 == 0:
                replicator.flush(30)
                say(k)
    """
    with site.program(code, WHO="original") as original:
        until(lambda: len(original.lines) > 5, "it is at work")
        original.send(signal.SIGSTOP)
        # Only then do all its threads stand still.
        os.waitpid(original.process.pid, os.WUNTRACED)
        copy = _copied(site)
        second = site.connect(journal=copy, origin="snapshot")
        # From now on two processes write as one origin.
        for k in range(5):
            write(second, "second", k)
        for number in range(2):
            until(
                lambda: len(site.written(number, "second")) == 5,  # noqa: B023
                "the second one delivers",
            )
        original.send(signal.SIGCONT)
        until(lambda: original.errors.count("gets nothing more (diverged)") == 2, "it is told")
    second.close(5)
    assert original.errors.count("another process writes as this origin") == 2
    for number in range(2):
        arrived = site.written(number, "original")
        assert arrived == list(range(len(arrived))), "none twice, none out of order"
        assert site.written(number, "second") == list(range(5))


def test_one_origin_in_two_directories_is_noticed_by_whoever_comes_second(site: Site) -> None:
    """What catches a clone: each text runs only on the row as its own predecessor left it."""
    with site.connect(origin="same") as replicator:
        fulfilled(write(replicator, "seed", 0))
        shutil.copytree(site.journal, site.folder / "other")
        replicator.flush(5)
        one = connect(*site.replicas, journal=site.folder / "other", origin="same")
        fulfilled(write(one, "copy", 1))
        two = write(replicator, "original", 1)
        _diverged(replicator, "peer-0", MOVED)
        _diverged(replicator, "peer-1", MOVED)
        assert not two.settled
        fulfilled(write(one, "copy", 2))
        one.close(5)
    assert site.order(0) == site.order(1) == ["seed", "copy", "copy"]


def test_one_database_at_two_addresses_is_named(site: Site) -> None:
    """It gets each write once, and whoever comes second says which replica it is."""
    port = site.peers[0].port
    one = Replica(f"http://127.0.0.1:{port}", name="one")
    two = Replica(f"http://localhost:{port}", name="two")
    with connect(one, two) as replicator:
        for k in range(10):
            write(replicator, "a", k)

        def stopped() -> list[ReplicaStats]:
            return [one for one in replicator.stats().replicas if one.state == "diverged"]

        until(stopped, "one of them is seen to be the other")
        (second,) = stopped()
        (first,) = [one for one in replicator.stats().replicas if one.name != second.name]
        assert f"sent to replica {first.name}; the two are one database" in str(second.reason)
        until(lambda: of(replicator, first.name).pending == 0, "the other goes on")
        replicator.close(0.1)
    assert site.written(0) == list(range(10))
