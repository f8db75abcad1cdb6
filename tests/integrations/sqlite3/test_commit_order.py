"""Transactions are submitted in the order in which their database committed them."""

from __future__ import annotations

import gc
import multiprocessing
import random
import sqlite3
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

import afterquery.sqlite3
from afterquery import Replicator, Transaction, _scope
from afterquery._failures import failures
from afterquery._order import CommitOrder, Ticket, file_key, order_for
from replication.world import Primary, assert_same, connect, fulfilled, prepare
from support.peer import PeerProcess
from support.recorder import RecordedTransaction, Recorder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def transaction(recorder: Recorder, name: str) -> Transaction:
    made = RecordedTransaction(recorder)
    made.after_query(name)
    return cast("Transaction", made)


def end(order: CommitOrder, ticket: Ticket, recorder: Recorder, name: str) -> Any:
    return order.committed(ticket, recorder.as_replicator(), transaction(recorder, name))


def submitted(recorder: Recorder) -> list[str]:
    return [calls[0][0] for calls in recorder.writes]


def test_whoever_is_late_submits_for_those_behind(recorder: Recorder) -> None:
    order = CommitOrder()
    first, second, third = order.take(), order.take(), order.take()
    assert end(order, third, recorder, "third") is None
    order.failed(second)
    assert submitted(recorder) == []
    assert end(order, first, recorder, "first").seq == 1
    assert submitted(recorder) == ["first", "third"]
    assert third.replication is not None
    assert third.replication.seq == 2
    assert second.replication is None


def test_a_forgotten_ticket_holds_nobody_up(recorder: Recorder) -> None:
    order = CommitOrder()
    forgotten, last = order.take(), order.take()
    end(order, last, recorder, "last")
    del forgotten
    gc.collect()
    assert submitted(recorder) == ["last"]


def test_the_handle_of_a_late_one_is_waited_for(recorder: Recorder) -> None:
    order = CommitOrder()
    first, second = order.take(), order.take()
    end(order, second, recorder, "second")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: second.replication)
        end(order, first, recorder, "first")
        found = reading.result(30)
    assert found is not None
    assert found.seq == 2


def test_an_error_of_one_holds_nobody_up(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    order = CommitOrder()
    broken = RecordedTransaction(recorder)
    broken.after_query("broken")
    monkeypatch.setattr(broken, "commit", lambda: 1 / 0)
    what = "a committed transaction could not be submitted"
    failures.forget()
    ticket = order.take()
    order.committed(ticket, recorder.as_replicator(), cast("Transaction", broken))
    end(order, order.take(), recorder, "next")
    assert submitted(recorder) == ["next"]
    assert ticket.replication is None
    assert failures.counts() == {what: 1}
    assert "ZeroDivisionError" in caplog.text


def test_tickets_resolved_crosswise_by_threads(recorder: Recorder) -> None:
    order = CommitOrder()
    tickets = [order.take() for _ in range(20)]
    mixed = list(enumerate(tickets))
    random.Random(1).shuffle(mixed)
    threads = [
        threading.Thread(target=end, args=(order, ticket, recorder, str(number)))
        for number, ticket in mixed
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert submitted(recorder) == [str(number) for number in range(20)]


class Request:
    """A request that keeps what is written in it."""

    def __init__(self) -> None:
        self.held: list[Transaction] = []

    def hold(self, _: Replicator, transaction: Transaction) -> bool:
        self.held.append(transaction)
        return True


def test_a_request_keeps_its_own_whoever_is_late(recorder: Recorder) -> None:
    order = CommitOrder()
    first, second = order.take(), order.take()
    request = Request()
    token = _scope.current.set(request)
    assert end(order, second, recorder, "held") is None
    assert len(request.held) == 1
    _scope.current.reset(token)
    end(order, first, recorder, "first")
    assert submitted(recorder) == ["first"]
    assert second.replication is None


def test_one_order_for_all_names_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    (tmp_path / "b.db").symlink_to(path)
    (tmp_path / "other.db").touch()
    order = order_for(file_key(path))
    assert order_for(file_key(str(tmp_path / "b.db"))) is order
    assert order_for(file_key(tmp_path / "other.db")) is not order
    assert order_for(file_key(tmp_path / "missing.db")) is not order


def take_and_end(key: Any) -> None:
    recorder = Recorder()
    order = order_for(key)
    end(order, order.take(), recorder, "child")
    assert submitted(recorder) == ["child"]


def test_a_forked_child_does_not_wait_for_threads_it_does_not_have() -> None:
    order = order_for("forked")
    kept = order.take()
    child = multiprocessing.get_context("fork").Process(target=take_and_end, args=("forked",))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    order.failed(kept)


SCHEMA = """
CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
INSERT INTO counter VALUES (0, 0), (1, 0);
CREATE TABLE chain (h INTEGER NOT NULL);
INSERT INTO chain VALUES (1);
CREATE TABLE log (n INTEGER PRIMARY KEY AUTOINCREMENT, thread INT, v INT);
"""
CHAIN = "UPDATE chain SET h = (h * 31 + ?) % 1000003"


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads change places between any two steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def application(path: Path, replicator: Replicator, seed: int, rounds: int) -> None:
    """One thread: overwrites what the others overwrite, in every kind of transaction."""
    chance = random.Random(seed)
    with closing(open_followed(path, replicator)) as db:
        for number in range(rounds):
            value = seed * 1_000 + number
            kind = chance.randrange(6)
            if kind == 0:
                db.execute("BEGIN IMMEDIATE")
                db.execute(CHAIN, (value,))
                db.execute("UPDATE counter SET n = n + 1 WHERE id = 0")
                db.execute("ROLLBACK" if chance.randrange(4) == 0 else "COMMIT")
            elif kind == 1:
                db.executemany("INSERT INTO log (thread, v) VALUES (?, ?)", [(seed, value)] * 2)
            elif kind == 2:
                sql = "INSERT INTO log (thread, v) VALUES (?, (SELECT h FROM chain)) RETURNING n"
                assert db.execute(sql, (seed,)).fetchone()
            elif kind == 3:
                db.executescript(f"SAVEPOINT s; DELETE FROM log WHERE v = {value - 7}; RELEASE s")
            else:
                db.execute(CHAIN, (value,))


def open_followed(path: Path, replicator: Replicator) -> afterquery.sqlite3.Connection:
    settings: dict[str, Any] = {"isolation_level": None, "timeout": 60}
    db = afterquery.sqlite3.connect(path, replicator=replicator, **settings)
    db.execute("PRAGMA synchronous = OFF")
    return db


def run_threads(path: Path, replicator: Replicator, *, threads: int, rounds: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        running = [
            pool.submit(application, path, replicator, seed, rounds)
            for seed in range(1, threads + 1)
        ]
        for one in running:
            one.result(110)


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_threads_that_overwrite_each_other(journal: str, tmp_path: Path) -> None:
    recorder = Recorder()
    path = tmp_path / "p.db"
    with (
        Primary(path, f"PRAGMA journal_mode = {journal}; {SCHEMA}") as primary,
        closing(sqlite3.connect(tmp_path / "r.db", isolation_level=None)) as replica,
    ):
        replica.executescript(f"PRAGMA synchronous = OFF; {SCHEMA}")
        run_threads(path, recorder.as_replicator(), threads=4, rounds=500)
        assert len(recorder.writes) > 1_400
        recorder.replay(replica)
        for table in ("chain", "counter", "log"):
            select = f"SELECT * FROM {table} ORDER BY 1"
            assert replica.execute(select).fetchall() == primary.rows(select), table


@pytest.mark.usefixtures("quick_switches")
def test_a_replica_ends_as_the_threads_left_the_primary(peer: PeerProcess, tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    prepare(SCHEMA, peer)
    with Primary(path, f"PRAGMA journal_mode = WAL; {SCHEMA}") as primary, connect(peer) as world:
        run_threads(path, world, threads=4, rounds=300)
        assert world.flush(60)
        assert_same(primary, peer)
        assert world.dead_letters() == []


def test_one_connection_shared_by_threads(peer: PeerProcess, tmp_path: Path) -> None:
    """They share its transactions too: what one begins, another adds to and a third commits."""
    path = tmp_path / "p.db"
    prepare(SCHEMA, peer)
    with Primary(path, SCHEMA) as primary, connect(peer) as replicator:
        db = afterquery.sqlite3.connect(path, replicator=replicator, check_same_thread=False)
        with ThreadPoolExecutor(4) as pool:
            for number in range(200):
                pool.submit(db.execute, CHAIN, (number,))
                if number % 7 == 0:
                    pool.submit(db.commit)
        db.commit()
        fulfilled(db.replication)
        assert_same(primary, peer)
        db.close()


def test_a_commit_that_finds_the_database_busy_can_be_tried_again(
    peer: PeerProcess, tmp_path: Path
) -> None:
    path = tmp_path / "p.db"
    prepare(SCHEMA, peer)
    with Primary(path, SCHEMA) as primary, connect(peer) as replicator:
        db = afterquery.sqlite3.connect(path, replicator=replicator, timeout=0)
        db.execute(CHAIN, (1,))
        reading = primary.connection.execute("SELECT * FROM counter")
        errors = []
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="database is locked") as caught:
                db.commit()
            errors.append(caught.value)  # with the frames in which the commit failed
        assert db.in_transaction
        assert replicator.stats().writes == 0
        reading.close()
        db.execute(CHAIN, (2,))
        db.commit()
        fulfilled(db.replication)
        assert replicator.stats().writes == 1
        assert len(errors) == 2
        # By itself, a statement that finds it busy comes to nothing.
        db.isolation_level = None
        reading = primary.connection.execute("SELECT * FROM counter")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            db.execute(CHAIN, (3,))
        assert not db.in_transaction
        reading.close()
        assert replicator.flush(30)
        assert_same(primary, peer)
        db.close()
