"""A signal handler's exception comes between any two steps of ours: nothing is lost or doubled, and
it reaches the user."""

from __future__ import annotations

import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery._failures import failures
from afterquery.outbox import pending
from support.interruptions import Interrupted, Interruption, handler, sweep
from support.recorder import Recorder

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, v UNIQUE)"
Use = Callable[[sqlite3.Connection], object]


def _block(db: sqlite3.Connection) -> None:
    with db:
        db.execute("INSERT INTO t (v) VALUES ('a')")
        db.execute("INSERT INTO t (v) VALUES ('b')")


def _commit(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO t (v) VALUES ('a')")
    db.commit()


def _rollback(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO t (v) VALUES ('a')")
    db.rollback()


def _many(db: sqlite3.Connection) -> None:
    db.executemany("INSERT INTO t (v) VALUES (?)", ((v,) for v in "ab"))


def _fails(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.IntegrityError):
        db.execute("INSERT OR FAIL INTO t (v) VALUES ('a'), ('b'), ('a')")


def _many_fails(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.IntegrityError):
        db.executemany("INSERT INTO t (v) VALUES (?)", [("a",), ("b",), ("a",)])


def _savepoints(db: sqlite3.Connection) -> None:
    db.execute("SAVEPOINT one")
    db.execute("INSERT INTO t (v) VALUES ('a')")
    db.execute("SAVEPOINT two")
    db.execute("INSERT INTO t (v) VALUES ('b')")
    db.execute("ROLLBACK TO two")
    db.execute("RELEASE two")
    db.execute("RELEASE one")


def _script(db: sqlite3.Connection) -> None:
    db.executescript(
        "INSERT INTO t (v) VALUES ('a'); BEGIN; INSERT INTO t (v) VALUES ('b'); COMMIT;"
    )


def _returning(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO t (v) VALUES ('a') RETURNING id").fetchall()


def _ddl(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA user_version")
    db.execute("CREATE TABLE u (x)")


def _isolation_level(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO t (v) VALUES ('a')")
    db.isolation_level = None


USES: list[Use] = [
    _block, _commit, _rollback, _many, _fails, _many_fails, _savepoints, _script, _returning, _ddl,
    _isolation_level,
]  # fmt: skip
MODES: list[dict[str, Any]] = [{}, {"isolation_level": None}]
if sys.version_info >= (3, 12):
    MODES.append({"autocommit": False})


def rows(db: sqlite3.Connection) -> list[Any]:
    tables = "SELECT name FROM sqlite_schema WHERE name IN ('t', 'u') ORDER BY name"
    return [db.execute(tables).fetchall(), db.execute("SELECT * FROM t ORDER BY id").fetchall()]


def interrupted(use: Use, db: sqlite3.Connection, interruption: Interruption) -> None:
    """Use it, go on after the exception as an application does, and end with a write more."""
    arrived = False
    with interruption.armed():
        try:
            use(db)
        except Interrupted:
            arrived = True
        except sqlite3.Error:
            pass  # it cannot be done in this mode
    assert arrived == interruption.raised, "the user's exception was swallowed"
    db.commit()
    assert not db.in_transaction or getattr(db, "autocommit", None) is False
    db.execute("INSERT INTO t (v) VALUES ('afterwards')")
    db.commit()


def direct(use: Use, mode: dict[str, Any], interruption: Interruption) -> None:
    recorder = Recorder()
    failures.forget()
    connect = partial(afterquery.sqlite3.connect, replicator=recorder.as_replicator())
    with closing(connect(":memory:", **mode)) as db, closing(sqlite3.connect(":memory:")) as copy:
        db.execute(SCHEMA)
        db.commit()
        interrupted(use, db, interruption)
        assert recorder.writes[-1][-1][0] == "INSERT INTO t (v) VALUES ('afterwards')"
        copy.isolation_level = None
        recorder.replay(copy)
        assert rows(copy) == rows(db)
    assert not failures.counts()


def outbox(use: Use, mode: dict[str, Any], interruption: Interruption) -> None:
    failures.forget()
    connect = partial(afterquery.sqlite3.connect, outbox=True)
    with closing(connect(":memory:", **mode)) as db, closing(sqlite3.connect(":memory:")) as copy:
        db.execute(SCHEMA)
        db.commit()
        interrupted(use, db, interruption)
        if getattr(db, "autocommit", None) is False:
            db.rollback()
        for entry in pending(db):
            for one in entry.statements:
                with suppress(sqlite3.IntegrityError):
                    run: Any = copy.executemany if one.many else copy.execute
                    run(one.sql, one.params).fetchall()
        assert rows(copy) == rows(db)
    assert not failures.counts()


@pytest.mark.parametrize("how", [direct, outbox])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("use", USES)
def test_at_every_place(
    use: Use, mode: dict[str, Any], how: Callable[[Use, dict[str, Any], Interruption], None]
) -> None:
    assert sweep(partial(how, use, mode)) > 30


def test_an_error_that_is_no_signal_handlers_is_ours() -> None:
    failures.forget()
    try:
        raise KeyError("missing")
    except KeyError:
        failures.caught("something of ours")
    assert failures.counts() == {"something of ours": 1}


def test_a_signal_handlers_error_is_passed_on() -> None:
    failures.forget()
    previous = signal.signal(signal.SIGUSR2, handler)
    try:
        with pytest.raises(Interrupted):
            _handled()
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert not failures.counts()


def _handled() -> None:
    try:
        handler()
    except Interrupted:
        failures.caught("not ours")
