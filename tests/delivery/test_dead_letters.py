"""Rejected writes: kept, replayed exactly once, or discarded."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from afterquery import JournalError, Replication, Replicator, UnknownReplicaError
from replication.site import Site, look, write
from replication.world import TIMEOUT, connect, fulfilled, of, prepare, settled, until

UNIQUE = "INSERT INTO named (name, k) VALUES (?, ?)"
SCHEMA = "CREATE TABLE IF NOT EXISTS named (n INTEGER PRIMARY KEY, name TEXT UNIQUE, k INT)"


@pytest.fixture(params=["memory", "journal"])
def settings(request: pytest.FixtureRequest, site: Site) -> dict[str, Any]:
    """Where dead letters are kept."""
    return {"journal": None if request.param == "memory" else site.journal}


@pytest.fixture(autouse=True)
def tables(site: Site) -> None:
    """`taken` is there already on the first replica, so that it rejects a second."""
    prepare(f"{SCHEMA}; DELETE FROM named", *site.peers)
    site.peers[0].client().run("INSERT INTO named (name, k) VALUES ('taken', -1)")


def _named(replicator: Replicator, name: str, k: int) -> Replication:
    replication = replicator.after_query(UNIQUE, (name, k), 1)
    assert replication is not None
    return replication


def _reject(replicator: Replicator, count: int = 1) -> list[Replication]:
    """Writes that the first replica rejects; the second rejects all but the first of them."""
    handles = [_named(replicator, "taken", k) for k in range(count)]
    for handle in handles:
        assert settled(handle)["peer-0"].status == "rejected"
    return handles


def _free(site: Site) -> None:
    """Mend the replicas: from now on every write is taken."""
    prepare("DROP TABLE named; CREATE TABLE named (n INTEGER PRIMARY KEY, name, k)", *site.peers)


def _rows(site: Site, number: int = 0) -> list[int]:
    rows = site.peers[number].client().rows("SELECT k FROM named WHERE k >= 0 ORDER BY n")
    return [k for (k,) in rows]


@pytest.fixture(autouse=True)
def restored(site: Site) -> Any:
    yield
    prepare("DROP TABLE IF EXISTS named", *site.peers)


def test_a_letter_says_what_and_why(site: Site, settings: dict[str, Any]) -> None:
    with site.connect(**settings) as replicator:
        (handle,) = _reject(replicator)
        (letter,) = replicator.dead_letters()
        assert (letter.replica, letter.origin) == ("peer-0", replicator.origin)
        assert letter.seq == handle.seq
        assert letter.statements == ("INSERT INTO named (name, k) VALUES ('taken', 0)",)
        assert letter.reason.startswith("constraint: UNIQUE constraint failed: named.name")
        assert letter.attempts >= 1
        assert abs(letter.time - time.time()) < TIMEOUT
        assert replicator.discard() == 1


def test_replay_sends_it_once_to_the_replica_that_rejected_it(
    site: Site, settings: dict[str, Any]
) -> None:
    with site.connect(**settings) as replicator:
        _reject(replicator, 3)
        letters = [x for x in replicator.dead_letters() if x.replica == "peer-0"]
        assert [letter.seq for letter in letters] == [1, 2, 3]
        others = [x for x in replicator.dead_letters() if x.replica == "peer-1"]
        replicator.discard(others)
        _free(site)
        handles = replicator.replay(letters)
        assert [set(settled(handle)) for handle in handles] == [{"peer-0"}] * 3
        assert replicator.dead_letters() == []
        # Those that are not there any more are left out.
        assert replicator.replay(letters) == []
        assert replicator.replay() == []
        assert replicator.discard(letters) == 0
    assert _rows(site) == [0, 1, 2]
    assert _rows(site, 1) == []


def test_one_of_several_in_any_form(site: Site, settings: dict[str, Any]) -> None:
    with site.connect(**settings) as replicator:
        _reject(replicator, 4)
        replicator.discard([x for x in replicator.dead_letters() if x.replica == "peer-1"])
        one, two, three, four = replicator.dead_letters()
        _free(site)
        assert len(replicator.replay(two)) == 1
        assert len(replicator.replay(iter([four, two]))) == 1
        assert replicator.discard(one) == 1
        assert replicator.discard({one, three}) == 1
        assert replicator.dead_letters() == []
        assert replicator.flush(TIMEOUT)
    assert _rows(site) == [1, 3]


def test_one_that_is_rejected_again_is_a_new_letter(site: Site, settings: dict[str, Any]) -> None:
    with site.connect(**settings) as replicator:
        _reject(replicator)
        (handle,) = replicator.replay()
        assert settled(handle)["peer-0"].status == "rejected"
        (letter,) = replicator.dead_letters()
        assert letter.seq == handle.seq == 2
        replicator.discard()


def test_new_writes_keep_their_order_while_letters_are_replayed(
    site: Site, settings: dict[str, Any]
) -> None:
    with site.connect(**settings) as replicator:
        _reject(replicator, 20)
        _free(site)
        for k in range(100, 400):
            if k % 50 == 0:
                letters = replicator.dead_letters()
                replicator.replay(letters[:3])
            _named(replicator, "new", k)
        assert replicator.flush(TIMEOUT)
        replicator.discard()
    new = [k for k in _rows(site) if k >= 100]
    replayed = [k for k in _rows(site) if k < 100]
    assert new == list(range(100, 400))
    assert replayed == sorted(set(replayed))
    assert len(replayed) + len([k for k in _rows(site, 1) if k < 100]) >= 18


def test_a_transaction_is_one_letter(site: Site, settings: dict[str, Any]) -> None:
    with site.connect(**settings) as replicator:
        with replicator.transaction() as transaction:
            transaction.after_query(UNIQUE, ("free", 1), 1)
            transaction.after_query(UNIQUE, ("taken", 2), 1)
            transaction.after_query(UNIQUE, ("also free", b"\0" * 60_000), 1)
        assert transaction.replication is not None
        assert settled(transaction.replication)["peer-0"].status == "rejected"
        (letter,) = replicator.dead_letters()
        # The first one is applied, and must not be applied again.
        assert [sql.split("'")[1] for sql in letter.statements] == ["taken", "also free"]
        site.peers[0].client().run("DELETE FROM named WHERE name = 'taken'")
        (handle,) = replicator.replay()
        fulfilled(handle)
    sql = "SELECT name, length(k) FROM named ORDER BY n"
    assert site.peers[0].client().rows(sql) == site.peers[1].client().rows(sql)


def test_the_oldest_go_when_there_are_too_many(site: Site, settings: dict[str, Any]) -> None:
    with site.connect(**settings, max_dead_letters=3) as replicator:
        site.peers[1].client().run("INSERT INTO named (name) VALUES ('taken')")
        _reject(replicator, 5)
        assert replicator.flush(TIMEOUT)
        kept = replicator.dead_letters()
        assert len(kept) == 3
        assert max(letter.seq for letter in kept) == 5
        assert replicator.stats().dead_letters_dropped == 7
        replicator.discard()


@pytest.mark.parametrize("wrong", [3, "letter", [None], [("peer-0", 1)], {"a": 1}, [[]]])
def test_wrong_arguments(site: Site, settings: dict[str, Any], wrong: Any) -> None:
    with site.connect(**settings) as replicator:
        _reject(replicator)
        for call in (replicator.replay, replicator.discard):
            with pytest.raises(TypeError, match="DeadLetter"):
                call(wrong)
        assert len(replicator.dead_letters()) == 1
        assert replicator.replay([]) == []
        assert replicator.discard([]) == 0
        assert replicator.discard() == 1


def test_replaying_to_a_detached_replica_keeps_the_letter(
    site: Site, settings: dict[str, Any]
) -> None:
    replicator = site.connect(**settings, max_lag_writes=3)
    _reject(replicator)
    site.down(0)
    for k in range(5):
        write(replicator, "one", k)
    until(lambda: of(replicator, "peer-0").state == "detached", "it is detached")
    replicator.replay()
    kept = len(replicator.dead_letters())
    replicator.discard()
    replicator.close(0)
    assert kept == 1


def test_letters_survive_the_process_and_come_with_its_file(site: Site) -> None:
    with site.connect() as replicator:
        _reject(replicator)
        origin = replicator.origin
    assert len(site.files()) == 1
    with site.connect() as replicator:
        (letter,) = replicator.dead_letters()
        assert (letter.origin, letter.seq) == (origin, 1)
        _free(site)
        (handle,) = replicator.replay(letter)
        assert handle.origin == replicator.origin
        fulfilled(handle)
    assert _rows(site) == [0]
    site.gone()


def test_letters_of_a_replica_that_is_not_there_any_more(site: Site) -> None:
    with site.connect() as replicator:
        _reject(replicator, 2)
        before = len(replicator.dead_letters())
    with connect(site.replicas[1], journal=site.journal) as replicator:
        letters = replicator.dead_letters()
        assert len(letters) == before
        gone = [letter for letter in letters if letter.replica == "peer-0"]
        with pytest.raises(UnknownReplicaError, match='no replica "peer-0"'):
            replicator.replay()
        with pytest.raises(UnknownReplicaError):
            replicator.replay(gone[0])
        assert replicator.dead_letters() != []
    _free(site)
    with site.connect() as replicator:
        assert len(replicator.replay()) == before
        assert replicator.flush(TIMEOUT)
    assert _rows(site) == [0, 1]


def test_they_cannot_be_had_after_close(site: Site) -> None:
    replicator = site.connect()
    _reject(replicator)
    replicator.close(5)
    for call in (replicator.dead_letters, replicator.replay, replicator.discard):
        with pytest.raises(JournalError, match="closed"):
            call()
    (file,) = site.files()
    assert look(file, "SELECT seq FROM dead_letters") == [(1,)]


REPLAY = """
replicator = connect(durability="process")
letters = replicator.dead_letters()
say("letters", len(letters))
def kill_soon():
    time.sleep(float(os.environ["AFTER"]))
    die()
threading.Thread(target=kill_soon).start()
for letter in letters:
    replicator.replay(letter)
    write(replicator, "new", letter.seq)
replicator.flush(30)
say("done")
time.sleep(30)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_a_random_point_replays_nothing_twice(site: Site, seed: int) -> None:
    """Each process adopts the file of the one before it, with the letters that are left."""
    chance = random.Random(seed)
    with site.connect() as replicator:
        _reject(replicator, 60)
        replicator.discard([x for x in replicator.dead_letters() if x.replica == "peer-1"])
    _free(site)
    prepare("DELETE FROM named", *site.peers)
    for number in range(6):
        after = f"{chance.uniform(0, 0.05):.4f}"
        assert site.program(REPLAY, f"run-{number}", AFTER=after).end() == -9, f"seed {seed}"
    with site.connect() as replicator:
        replicator.replay()
        assert replicator.flush(TIMEOUT)
        assert replicator.dead_letters() == []
    assert sorted(_rows(site)) == list(range(60)), f"seed {seed}"
    site.gone()
