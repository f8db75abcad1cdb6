"""What one exception of a signal handler's must not leave behind in a connection that goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

import afterquery.sqlite3
from afterquery import _binding
from afterquery._failures import failures
from afterquery.sqlalchemy import attach
from support.interruptions import Interrupted, Interruption, sweep
from support.recorder import Recorder

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, v UNIQUE)"
INSERT = "INSERT INTO t (v) VALUES (?)"
UNSEEN = "a transaction ended unseen, and is not replicated"


def _interrupted(interruption: Interruption, use: Any) -> None:
    arrived = False
    with interruption.armed():
        try:
            use()
        except Interrupted:
            arrived = True
    assert arrived == interruption.raised, "the user's exception was swallowed"


def _then_a_transaction_ends_unseen(interruption: Interruption) -> None:
    recorder = Recorder()
    failures.forget()
    connect = partial(afterquery.sqlite3.connect, replicator=recorder.as_replicator())
    with closing(connect(":memory:")) as db:
        db.execute(SCHEMA)
        db.execute("BEGIN")
        _interrupted(interruption, lambda: db.executemany(INSERT, ((v,) for v in "ab")))
        db.rollback()
        recorder.writes.clear()
        db.execute(INSERT, ("rolled back",))
        sqlite3.Connection.rollback(db)
        db.execute(INSERT, ("kept",))
        db.commit()
        assert [calls[0][1] for calls in recorder.writes] == [("kept",)]
    assert failures.counts() == {UNSEEN: 1}


def test_an_executemany_that_was_interrupted_submits_nothing_later() -> None:
    assert sweep(_then_a_transaction_ends_unseen) > 30


def test_a_generator_that_writes_leaves_its_executemany_a_write() -> None:
    """An authorizer is asked when the statement is prepared anew, as the generator changed the
    schema."""
    recorder = Recorder()
    failures.forget()
    connect = partial(afterquery.sqlite3.connect, replicator=recorder.as_replicator())
    with closing(connect(":memory:")) as db:
        db.execute(SCHEMA)
        ignoring = list[bool]()

        def authorizer(action: int, *_: object) -> int:
            is_ignored = ignoring and action == sqlite3.SQLITE_UPDATE
            return sqlite3.SQLITE_IGNORE if is_ignored else sqlite3.SQLITE_OK

        def rows() -> Iterator[tuple[str]]:
            yield ("a",)
            db.execute("CREATE TABLE other (x)")
            ignoring.append(True)
            yield ("b",)

        db.execute(INSERT, ("seen",))
        db.set_authorizer(authorizer)
        db.executemany("UPDATE t SET v = ?", rows())
        db.commit()
    assert sum(failures.counts().values()) >= 1


def test_a_generator_itself_is_no_write() -> None:
    recorder = Recorder()
    failures.forget()
    connect = partial(afterquery.sqlite3.connect, replicator=recorder.as_replicator())
    with closing(connect(":memory:")) as db:
        db.execute(SCHEMA)
        db.set_authorizer(
            lambda action, *_: (
                sqlite3.SQLITE_IGNORE if action == sqlite3.SQLITE_READ else sqlite3.SQLITE_OK
            )
        )
        db.execute("BEGIN")
        db.executemany(INSERT, (row for _ in "ab" for row in db.execute("SELECT v FROM t")))
        db.commit()
    assert not failures.counts()


def _adapters_change(interruption: Interruption) -> None:
    class Mine:
        pass

    plain = _binding.Plain()
    assert bytearray in plain.types()
    sqlite3.register_adapter(Mine, str)
    sqlite3.register_adapter(bytearray, bytearray.hex)
    try:
        _interrupted(interruption, plain.types)
        assert bytearray not in plain.types()
    finally:
        del sqlite3.adapters[bytearray, sqlite3.PrepareProtocol]
        del sqlite3.adapters[Mine, sqlite3.PrepareProtocol]


def test_the_types_without_an_adapter_are_looked_up_again() -> None:
    assert sweep(_adapters_change) >= 1


class Money(int):
    """Adapted to a text, which has an adapter again."""


def _adapted_rows(interruption: Interruption) -> None:
    recorder, engine = Recorder(), create_engine("sqlite://", poolclass=StaticPool)
    attached = attach(engine, recorder.as_replicator())
    with engine.begin() as connection:
        connection.exec_driver_sql(SCHEMA)
    statement = text("INSERT INTO t (v) VALUES (:v)")
    rows = [{"v": Money(1)}, {"v": Money(2)}, {"v": Money(3)}]

    with engine.connect() as connection:
        _interrupted(interruption, lambda: connection.execute(statement, rows))
        connection.commit()
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        kept = driver.execute("SELECT id, v FROM t ORDER BY id").fetchall()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        recorder.replay(copy)
        assert copy.execute("SELECT id, v FROM t ORDER BY id").fetchall() == kept
    attached.detach()
    engine.dispose()


def test_no_handler_comes_between_the_rows_of_an_executemany() -> None:
    sqlite3.register_adapter(Money, lambda money: f"{int(money)} EUR")
    sqlite3.register_adapter(str, str.lower)
    try:
        assert sweep(_adapted_rows) > 10
    finally:
        for kind in (Money, str):
            del sqlite3.adapters[kind, sqlite3.PrepareProtocol]


SCRIPTS = [
    "CREATE TABLE u (x); DROP TABLE t;",
    "BEGIN; CREATE TABLE u (x); ALTER TABLE t RENAME TO w; COMMIT;",
    "CREATE TABLE u (x); BEGIN; INSERT INTO t (v) VALUES (1) RETURNING id; COMMIT;",
]


def _script(script: str, mode: dict[str, Any], interruption: Interruption) -> None:
    recorder = Recorder()
    failures.forget()
    connect = partial(afterquery.sqlite3.connect, replicator=recorder.as_replicator())
    with closing(connect(":memory:", **mode)) as db, closing(sqlite3.connect(":memory:")) as copy:
        db.execute(SCHEMA)
        _interrupted(interruption, lambda: db.executescript(script))
        db.commit()
        copy.isolation_level = None
        recorder.replay(copy)
        names = "SELECT name FROM sqlite_schema ORDER BY name"
        assert copy.execute(names).fetchall() == db.execute(names).fetchall()
        with suppress(sqlite3.OperationalError):
            found = copy.execute("SELECT * FROM t").fetchall()
            assert found == db.execute("SELECT * FROM t").fetchall()
    assert not failures.counts()


@pytest.mark.parametrize("mode", [{}, {"isolation_level": None}], ids=str)
@pytest.mark.parametrize("script", SCRIPTS)
def test_what_a_script_ran_is_known(script: str, mode: dict[str, Any]) -> None:
    assert sweep(partial(_script, script, mode)) > 30
