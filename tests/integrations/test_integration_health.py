"""What the integrations tell: commits held back, what replicas may lack, `flush()`."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

import afterquery.sqlite3
from afterquery import Replicator, Transaction, _order, confirm_equal
from afterquery._failures import failures
from afterquery._order import CommitOrder
from afterquery.sqlalchemy import attach
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.until import until

UNTOLD = "a commit did not say how it ended, and those behind it go on"
FOUND = "a commit was not told as over, and was found to be"
LATE = "a commit was submitted after those that came later"


@pytest.fixture
def replicator(peer: PeerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replicator]:
    """The watchdog looks after a tenth of a second, not after five."""
    monkeypatch.setattr(_order, "_HELD_SECONDS", 0.1)
    failures.forget()
    with Replicator([peer.url], auth_token=ADMIN_TOKEN, ddl=True) as made:
        transaction(made, "CREATE TABLE t (v)").commit()
        assert made.flush(30)
        yield made
    failures.forget()


def transaction(replicator: Replicator, sql: str) -> Transaction:
    made = replicator.transaction()
    made.after_query(sql)
    return made


def insert(replicator: Replicator, value: int) -> Transaction:
    return transaction(replicator, f"INSERT INTO t VALUES ({value})")


def values(peer: PeerProcess) -> list[int]:
    return [row["v"] for row in peer.client().query("SELECT v FROM t ORDER BY rowid").result]


def told(replicator: Replicator) -> dict[str, int]:
    return dict(replicator.stats().integrations.missed)


def test_one_that_says_nothing_holds_nobody_up(replicator: Replicator, peer: PeerProcess) -> None:
    order = CommitOrder()
    silent, last = order.take(), order.take()
    silent.expect([], replicator, insert(replicator, 1))
    order.committed(last, replicator, insert(replicator, 2))
    found = replicator.stats().integrations
    assert found.held == 1
    assert found.oldest >= 0
    until(lambda: replicator.stats().integrations.held == 0, 30)
    assert replicator.flush(30) is False
    assert values(peer) == [2]
    assert told(replicator) == {UNTOLD: 1}
    del silent


def test_one_whose_commit_ran_is_submitted_in_its_place(
    replicator: Replicator, peer: PeerProcess
) -> None:
    order = CommitOrder()
    silent, last = order.take(), order.take()
    silent.expect([True], replicator, insert(replicator, 1))
    order.committed(last, replicator, insert(replicator, 2))
    until(lambda: replicator.stats().integrations.held == 0, 30)
    assert replicator.flush(30) is True
    assert values(peer) == [1, 2]
    assert failures.counts() == {FOUND: 1}
    del silent


def test_one_that_is_late_is_told(replicator: Replicator, peer: PeerProcess) -> None:
    order = CommitOrder()
    late, last = order.take(), order.take()
    order.committed(last, replicator, insert(replicator, 2))
    until(lambda: replicator.stats().integrations.held == 0, 30)
    order.committed(late, replicator, insert(replicator, 1))
    replicator.flush(30)
    assert values(peer) == [2, 1]
    assert failures.counts()[LATE] == 1


def test_a_commit_within_its_time_is_waited_for(
    replicator: Replicator, peer: PeerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_order, "_HELD_SECONDS", 60.0)
    order = CommitOrder()
    first, last = order.take(), order.take()
    order.committed(last, replicator, insert(replicator, 2))
    assert order.look() is True
    assert replicator.stats().integrations.held == 1
    order.committed(first, replicator, insert(replicator, 1))
    assert order.look() is False
    assert replicator.flush(30) is True
    assert values(peer) == [1, 2]


@pytest.mark.parametrize("how", ["sqlite3", "sqlalchemy", "sqlalchemy text"])
def test_a_commit_at_its_checkpoint_is_waited_for(
    replicator: Replicator, peer: PeerProcess, tmp_path: Path, how: str
) -> None:
    """It has let go of the lock, and writes back what the WAL has become, on a slow disk: who
    commits meanwhile comes after it."""
    first, checkpoint, done = slow_commit(replicator, tmp_path / "app.db", how)
    with closing(afterquery.sqlite3.connect(tmp_path / "app.db", replicator=replicator)) as db:
        thread = threading.Thread(target=first)
        thread.start()
        assert checkpoint.wait(30)
        db.execute("INSERT INTO t VALUES (2)")
        db.commit()
        until(lambda: replicator.stats().integrations.oldest > 0.5, 30)
        assert replicator.stats().integrations.held == 1
        done.set()
        thread.join()
    assert replicator.flush(30) is True
    assert values(peer) == [1, 2]
    assert not failures.counts()


def slow_commit(
    replicator: Replicator, path: Path, how: str
) -> tuple[Callable[[], None], threading.Event, threading.Event]:
    """What commits; when it stands at its checkpoint; what to set to have it go on."""
    checkpoint, done = threading.Event(), threading.Event()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (v)")

    def slowly(commit: Callable[[], object]) -> None:
        commit()
        checkpoint.set()
        assert done.wait(30)

    def by_sqlite3() -> None:
        with closing(afterquery.sqlite3.connect(path, replicator=replicator)) as db:
            db.execute("INSERT INTO t VALUES (1)")
            commit = partial(sqlite3.Connection.commit, db)
            db._follower.committing(db, partial(slowly, commit))

    engine = create_engine(f"sqlite:///{path}")
    dialect: Any = engine.dialect
    commit, execute = dialect.do_commit, dialect.do_execute

    def do_execute(cursor: Any, sql: str, parameters: Any, context: Any = None) -> None:
        run = partial(execute, cursor, sql, parameters, context)
        if sql == "COMMIT":
            slowly(run)
        else:
            run()

    dialect.do_commit = lambda connection: slowly(partial(commit, connection))
    dialect.do_execute = do_execute
    attach(engine, replicator)

    def by_sqlalchemy() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            if how == "sqlalchemy":
                connection.commit()
            else:
                connection.exec_driver_sql("COMMIT")
        engine.dispose()

    return by_sqlite3 if how == "sqlite3" else by_sqlalchemy, checkpoint, done


def test_one_that_stands_in_its_commit_holds_nobody_up_for_ever(
    replicator: Replicator, peer: PeerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_order, "_RUNNING_SECONDS", 0.1)
    order = CommitOrder()
    stands, last = order.take(), order.take()
    stands.expect([], replicator, insert(replicator, 1))
    stands.place.runs = True
    order.committed(last, replicator, insert(replicator, 2))
    until(lambda: replicator.stats().integrations.held == 0, 30)
    assert replicator.flush(30) is False
    assert values(peer) == [2]


def test_aflush_waits_for_commits_that_are_held_back(
    replicator: Replicator, peer: PeerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_order, "_HELD_SECONDS", 60.0)
    order = CommitOrder()
    first, last = order.take(), order.take()
    order.committed(last, replicator, insert(replicator, 2))

    async def flush() -> None:
        assert await replicator.aflush(0.05) is False
        flushing = asyncio.ensure_future(replicator.aflush(30))
        await asyncio.to_thread(order.committed, first, replicator, insert(replicator, 1))
        assert await flushing is True

    asyncio.run(flush())
    assert values(peer) == [1, 2]


def test_aflush_tells_what_was_missed_while_it_waited(
    replicator: Replicator, peer: PeerProcess
) -> None:
    async def flush() -> None:
        flushing = asyncio.ensure_future(replicator.aflush(60))
        failures.report("something was missed", replicator)
        await asyncio.to_thread(peer.start)
        assert await flushing is False

    peer.kill()
    insert(replicator, 1).commit()
    asyncio.run(flush())
    assert values(peer) == [1]


def test_the_replicas_can_be_said_to_be_equal_again(replicator: Replicator, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(afterquery.sqlite3.connect(path, replicator=replicator)) as db:
        db.execute("CREATE TABLE u (v)")
        db.execute("INSERT INTO u VALUES (1)")
        sqlite3.Connection.commit(db)
        db.execute("INSERT INTO u VALUES (2)")
        db.commit()
        assert replicator.flush(30) is False
        assert sum(told(replicator).values()) == 1
        confirm_equal(replicator)
        assert told(replicator) == {}
        assert replicator.flush(30) is True
        assert failures.counts(), "what happened is counted still"
        db.execute("INSERT INTO u VALUES (3)")
        sqlite3.Connection.commit(db)
        db.execute("INSERT INTO u VALUES (4)")
        assert sum(told(replicator).values()) == 1, "what comes later is told again"


def test_the_watchdog_is_started_anew_in_a_child(replicator: Replicator) -> None:
    """The thread of the parent is not there."""
    order = CommitOrder()
    silent, last = order.take(), order.take()
    order.committed(last, replicator, insert(replicator, 1))
    until(lambda: replicator.stats().integrations.held == 0, 30)
    child = os.fork()
    if child == 0:
        order = CommitOrder()
        tickets = [order.take(), order.take()]
        order.committed(tickets[1], replicator, insert(replicator, 2))
        watcher = any(thread.name == "afterquery-order" for thread in threading.enumerate())
        os._exit(0 if watcher else 1)
    assert os.waitpid(child, 0)[1] == 0
    del silent
