"""`afterquery.sqlite3`: statements that fail, wrong use, errors of ours."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery._failures import failures
from replication.modes import AUTOCOMMIT, LEGACY, SCHEMA, World, ids, manual
from replication.world import (
    assert_same,
    prepare,
    settled,
)

USER = "INSERT INTO users (name) VALUES (?)"


@manual
def test_a_statement_that_fails_takes_nothing_with_it(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.OperationalError):
        db.execute("INSERT INTO missing VALUES (1)")
    with pytest.raises(sqlite3.ProgrammingError):
        db.execute(USER, ())
    db.execute(USER, ("Eve",))
    db.commit()
    world.same(writes=1)


@manual
def test_or_rollback_ends_the_transaction(world: World, mode: dict[str, Any]) -> None:
    db = world.open(**mode)
    db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT OR ROLLBACK INTO users (name) VALUES ('Ada')")
    assert not db.in_transaction
    with suppress(sqlite3.OperationalError):  # where `autocommit` is False, there is nothing to end
        db.commit()
    world.same(writes=0)
    db.execute("BEGIN")
    db.execute(USER, ("Eve",))
    db.commit()
    world.same(writes=1)


def test_or_fail_keeps_what_it_did_and_the_replica_tells(world: World) -> None:
    """The statement fails on the replica as it did here: a dead letter says so."""
    db = world.open(isolation_level=None)
    db.execute(USER, ("Ada",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT OR FAIL INTO users (name) VALUES ('Eve'), ('Ada'), ('never')")
    assert not db.in_transaction
    (outcome,) = settled(db.replication).values()
    assert outcome.reason is not None
    assert outcome.reason.startswith("constraint: ")
    assert_same(world.primary, world.peer)


def test_an_authorizer_that_allows_no_transaction(world: World) -> None:
    """Then a statement runs as it would; only its place in the order of threads is not sure."""

    def allow(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK

    db = world.open(isolation_level=None)
    db.set_authorizer(allow)
    db.execute(USER, ("Ada",))
    db.executescript("INSERT INTO users (name) VALUES ('Eve')")
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        db.execute("BEGIN")
    world.same(writes=2)


class Broken:
    """A replicator in which everything fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_an_error_of_ours_never_reaches_the_application(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures.forget()
    broken: Any = Broken()
    db = afterquery.sqlite3.connect(tmp_path / "p.db", replicator=broken)
    db.executescript(SCHEMA)
    with caplog.at_level(logging.ERROR, "afterquery"):
        for name in ("Ada", "Eve"):
            db.execute(USER, (name,))
            db.execute("UPDATE users SET n = random()")
            db.execute("SAVEPOINT s")
            db.execute("ROLLBACK TO s")
            db.commit()
    db.isolation_level = None
    assert db.execute("INSERT INTO users (name) VALUES ('c') RETURNING name").fetchall() == [("c",)]
    db.executemany(USER, [("d",), ("e",)])
    assert db.replication is None
    assert db.execute("SELECT count(*) FROM users").fetchone() == (5,)
    db.close()
    errors = afterquery.sqlite3.errors()
    assert errors["a statement could not be replicated"] >= 4
    assert caplog.text.count("a statement could not be replicated") == 1
    failures.forget()


def test_wrong_use_is_an_error_as_ever(world: World) -> None:
    db: Any = world.open()
    bare: Any = sqlite3.connect(":memory:")
    bare.executescript(SCHEMA)
    calls: list[Callable[[Any], object]] = [
        lambda db: db.execute(5),
        lambda db: db.execute("SELECT 1; SELECT 2"),
        lambda db: db.execute(USER, 5),
        lambda db: db.execute(USER, {"a"}),
        lambda db: db.execute(USER, (object(),)),
        lambda db: db.executemany(5, []),
        lambda db: db.executemany(USER, 5),
        lambda db: db.executemany("SELECT ?", [(1,)]),
        lambda db: db.executemany("CREATE TABLE nonsense (", []),
        lambda db: db.executescript(5),
        lambda db: db.executescript("nonsense"),
        lambda db: setattr(db, "isolation_level", "nonsense"),
        lambda db: db.cursor(lambda _: 5),
    ]
    for number, call in enumerate(calls):
        found = []
        for connection in (bare, db):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever sqlite3 raises
                call(connection)
            found.append((caught.type, str(caught.value)))
        assert found[0] == found[1], number
    bare.close()
    db.rollback()
    world.same(writes=0)


CASCADE = """
CREATE TABLE IF NOT EXISTS owners (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS a (owner REFERENCES owners ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS b (owner REFERENCES owners);
DELETE FROM b; DELETE FROM a; DELETE FROM owners;
INSERT INTO owners VALUES (1); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);
"""


@pytest.mark.parametrize("mode", [*AUTOCOMMIT, *LEGACY], ids=ids)
def test_what_a_cascade_did_before_its_statement_failed_is_undone(
    world: World, mode: dict[str, Any]
) -> None:
    world.primary.connection.executescript(CASCADE)
    prepare(CASCADE, world.peer)
    db = world.open(**mode)
    db.execute("PRAGMA foreign_keys = ON")
    db.commit()
    db.execute(USER, ("before",))
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("DELETE FROM owners")
    db.execute(USER, ("after",))
    db.commit()
    assert world.replicator.flush(30)
    assert world.replicator.dead_letters() == []
    assert_same(world.primary, world.peer)
    assert world.primary.rows("SELECT count(*) FROM a") == [(1,)]


REFUSED = """
CREATE TABLE IF NOT EXISTS refused (x);
CREATE TABLE IF NOT EXISTS checked (x);
CREATE TRIGGER IF NOT EXISTS guard BEFORE INSERT ON checked WHEN new.x < 0
BEGIN INSERT INTO refused VALUES (new.x); SELECT RAISE(FAIL, 'negative'); END;
"""


def test_what_a_trigger_did_before_it_said_fail_stays(world: World) -> None:
    world.primary.connection.executescript(REFUSED)
    prepare(REFUSED, world.peer)
    db = world.open()
    with pytest.raises(sqlite3.IntegrityError, match="negative"):
        db.execute("INSERT INTO checked VALUES (-5)")
    db.commit()
    assert world.replicator.flush(30)
    assert_same(world.primary, world.peer)
    assert world.primary.rows("SELECT x FROM refused") == [(-5,)]
    assert len(world.replicator.dead_letters()) == 1
    assert world.replicator.discard() == 1
    cleaning = "DROP TRIGGER guard; DROP TABLE refused; DROP TABLE checked;"
    world.primary.connection.executescript(cleaning)
    prepare(cleaning, world.peer)


def test_connecting_waits_for_nobody(world: World) -> None:
    with closing(sqlite3.connect(world.primary.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        db = world.open(timeout=0)
    with db:
        db.execute(USER, ("a",))
    world.same(writes=1)
