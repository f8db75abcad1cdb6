"""`afterquery.sqlite3`: which statements are one write; commits, rollbacks, savepoints."""

from __future__ import annotations

import gc
import signal
import sqlite3
import sys
import threading
import warnings
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery._failures import failures
from replication.modes import AUTOCOMMIT, LEGACY, MANUAL, World, alone, every, ids, manual
from replication.world import (
    Primary,
    assert_same,
    connect,
    counted,
    fulfilled,
)
from support.peer import PeerProcess

USER = "INSERT INTO users (name) VALUES (?)"


@every
def test_it_is_a_connection_of_the_standard_library(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    assert isinstance(db, sqlite3.Connection)
    assert isinstance(db.cursor(), sqlite3.Cursor)
    for name, value in mode.items():
        assert getattr(db, name) == value
    assert db.replication is None


@manual
def test_commit(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    db.execute(USER, ("Eve",))
    db.execute("UPDATE users SET n = n + 1")
    assert db.in_transaction
    assert world.replicator.stats().writes == 0
    db.commit()
    fulfilled(db.replication)
    world.same(writes=1)


@manual
def test_rollback(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    db.rollback()
    assert db.replication is None
    assert world.replicator.stats().skipped["dropped"] == 1
    db.execute(USER, ("Eve",))
    db.commit()
    world.same(writes=1)


@every
def test_begin_and_commit_as_text(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    if not db.in_transaction:
        db.execute("/* a comment; */ -- another\n bEgIn immediate;")
    db.execute(USER, ("Ada",))
    db.execute(USER, ("Eve",))
    db.execute(" end transaction ;")
    assert not db.in_transaction
    db.execute("begin")
    db.execute(USER, ("never",))
    db.execute("Rollback")
    world.same(writes=1)


@alone
def test_autocommit(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    seqs = []
    for name in ("Ada", "Eve"):
        db.execute(USER, (name,))
        assert not db.in_transaction
        assert db.replication is not None
        seqs.append(db.replication.seq)
    assert seqs == [1, 2]
    db.commit()
    db.rollback()
    world.same(writes=2)


@pytest.mark.parametrize("mode", LEGACY, ids=ids)
def test_what_begins_no_transaction_commits_at_once(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute("WITH x (name) AS (SELECT 'Ada') INSERT INTO users (name) SELECT name FROM x")
    assert not db.in_transaction
    world.same(writes=1)
    db.execute("-- a comment does not hide it\nINSERT INTO users (name) VALUES ('Eve')")
    assert db.in_transaction
    world.replicator.flush(10)
    assert world.replicator.stats().writes == 1
    db.commit()
    world.same(writes=2)


@pytest.mark.parametrize("mode", [*MANUAL, {"isolation_level": None}], ids=ids)
def test_with_commits_or_rolls_back(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)

    def block(name: str, error: Exception | None) -> None:
        with db:
            if mode in AUTOCOMMIT:
                db.execute("BEGIN")
            db.execute(USER, (name,))
            if error is not None:
                raise error

    block("Ada", None)
    with pytest.raises(ZeroDivisionError):
        block("never", ZeroDivisionError())
    world.same(writes=1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Connection.autocommit is new in 3.12")
def test_with_and_commit_do_nothing_where_autocommit_is_true(world: World) -> None:
    db = world.open(autocommit=True)
    with db:
        db.execute("BEGIN")
        db.execute(USER, ("Ada",))
    db.commit()
    assert world.replicator.stats().writes == 0
    db.rollback()
    assert db.in_transaction
    db.execute("COMMIT")
    world.same(writes=1)


def test_a_commit_that_fails_in_with_is_rolled_back(world: World) -> None:
    db = world.open()
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"), db:
        db.execute("INSERT INTO children VALUES (5)")
    assert not db.in_transaction
    db.execute("INSERT INTO children VALUES (6)")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        db.commit()
    assert db.in_transaction
    db.execute("INSERT INTO parents VALUES (6)")
    db.commit()
    fulfilled(db.replication)
    world.same(writes=1)


@alone
def test_a_statement_alone_whose_commit_fails(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        db.execute("INSERT INTO children VALUES (5)")
    assert not db.in_transaction
    world.same(writes=0)


@every
def test_savepoints(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    if not db.in_transaction:
        db.execute("BEGIN")
    db.execute(USER, ("one",))
    db.execute('SAVEPOINT "an ""odd"" name"')
    db.execute(USER, ("two",))
    db.execute("savepoint Inner")
    db.execute(USER, ("never",))
    db.execute("ROLLBACK TRANSACTION TO SAVEPOINT iNNER")
    db.execute(USER, ("three",))
    db.execute("-- kept\nRELEASE inner")
    db.execute("SAVEPOINT [inner]")
    db.execute(USER, ("nor this",))
    db.execute("SAVEPOINT deeper")
    db.execute(USER, ("nor that",))
    db.execute("RELEASE deeper")
    db.execute("ROLLBACK TO 'inner'")
    db.execute("ROLLBACK TO inner")
    db.execute('release savepoint "AN ""odd"" NAME"')
    assert db.in_transaction
    db.execute(USER, ("four",))
    db.commit() if mode != {"autocommit": True} else db.execute("COMMIT")
    names = world.primary.rows("SELECT name FROM users ORDER BY id")
    assert names == [("one",), ("two",), ("three",), ("four",)]
    world.same(writes=1)


@alone
def test_a_savepoint_is_a_transaction_where_none_is_open(
    world: World, mode: dict[str, Any]
) -> None:
    db = world.open(**mode)
    db.execute("SAVEPOINT outer")
    db.execute(USER, ("one",))
    db.execute("SAVEPOINT ☃")
    db.execute(USER, ("never",))
    db.execute("ROLLBACK TO ☃")
    db.execute("RELEASE ☃")
    assert world.replicator.stats().writes == 0
    db.execute("RELEASE outer")
    assert not db.in_transaction
    fulfilled(db.replication)
    world.same(writes=1)


@every
def test_a_dirty_close_drops_what_is_open(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    if mode in AUTOCOMMIT:
        db.execute("BEGIN")
    db.execute(USER, ("never",))
    db.close()
    world.same(writes=0)
    assert counted(world.replicator.stats().skipped)["dropped"] == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        db.execute(USER, ("never",))


def test_a_connection_that_is_forgotten_is_a_dirty_close(world: World) -> None:
    path = world.primary.path
    db: Any = afterquery.sqlite3.connect(path, replicator=world.replicator)
    db.execute(USER, ("never",))
    del db
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of Python 3.13
        gc.collect()
    world.primary.run(USER, ("the file is not locked",))
    world.primary.run("DELETE FROM users")
    world.same(writes=0)


def test_setting_the_isolation_level_to_none_commits(world: World) -> None:
    db = world.open()
    db.execute(USER, ("Ada",))
    db.isolation_level = "IMMEDIATE"
    assert world.replicator.stats().writes == 0
    db.isolation_level = None
    assert not db.in_transaction
    fulfilled(db.replication)
    db.execute(USER, ("Eve",))
    world.same(writes=2)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Connection.autocommit is new in 3.12")
def test_changing_autocommit(world: World) -> None:
    db: Any = world.open(autocommit=False)
    db.execute(USER, ("Ada",))
    db.autocommit = True
    fulfilled(db.replication)
    db.execute(USER, ("Eve",))
    db.autocommit = False
    assert db.in_transaction
    db.execute(USER, ("never",))
    db.rollback()
    db.execute(USER, ("Grace",))
    db.autocommit = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL; leaves the transaction as it is
    assert world.replicator.stats().writes == 2
    db.commit()
    world.same(writes=3)


def test_ddl_goes_with_its_transaction(tmp_path: Path, peer: PeerProcess) -> None:
    with Primary(tmp_path / "p.db") as primary, connect(peer, ddl=True) as replicator:
        with closing(afterquery.sqlite3.connect(primary.path, replicator=replicator)) as db:
            db.execute("CREATE TABLE a (x)")
            db.execute("BEGIN")
            db.execute("CREATE TABLE b (x)")
            db.execute("ROLLBACK")
            db.executescript("BEGIN; CREATE TABLE c (x); INSERT INTO c VALUES (1); COMMIT")
            db.execute("ALTER TABLE a ADD COLUMN y")
        assert replicator.flush(30)
        assert replicator.stats().writes == 3
        assert_same(primary, peer)
        assert peer.client().value("SELECT count(*) FROM pragma_table_list WHERE name = 'b'") == 0


def test_a_commit_behind_our_back_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    db = world.open()
    db.execute(USER, ("unseen",))
    sqlite3.Connection.commit(db)
    db.execute(USER, ("seen",))
    db.commit()
    assert "ended unseen" in caplog.text
    failures.forget()
    assert world.replicator.stats().writes == 1


@pytest.mark.parametrize("mode", LEGACY[:3], ids=ids)
def test_a_signal_handler_that_raises_when_the_commit_is_over(
    world: World, mode: dict[str, Any]
) -> None:
    """Python runs it after the call, which has succeeded by then."""
    db = world.open(**mode)
    main = threading.main_thread().ident
    assert main is not None
    reader = sqlite3.connect(world.primary.path, check_same_thread=False, timeout=0)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM users").fetchall()
    db.execute(USER, ("committed",))

    def interrupt() -> None:
        with closing(sqlite3.connect(world.primary.path, timeout=0)) as other:
            with suppress(sqlite3.OperationalError):
                while True:  # until it is locked: COMMIT waits for the reader
                    other.execute("SELECT * FROM users").fetchall()
            signal.pthread_kill(main, signal.SIGUSR1)
            reader.close()

    def handler(*_: object) -> None:
        raise InterruptedError("soft time limit")

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(InterruptedError):
            db.commit()
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join()
    assert not db.in_transaction
    world.same(writes=1)
