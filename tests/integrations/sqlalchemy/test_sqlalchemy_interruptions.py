"""A signal handler's exception at every place of the SQLAlchemy integration, and statements that it
does not see."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.pool import StaticPool

from afterquery.outbox import pending
from afterquery.sqlalchemy import attach
from support.interruptions import Interrupted, Interruption, sweep
from support.recorder import Recorder

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, v UNIQUE)"
INSERT = text("INSERT INTO t (v) VALUES (:v)")


def memory() -> Engine:
    return create_engine("sqlite://", poolclass=StaticPool)


def _insert(connection: Connection) -> None:
    connection.execute(INSERT, {"v": "a"})
    connection.commit()


def _many(connection: Connection) -> None:
    connection.execute(INSERT, [{"v": "a"}, {"v": "b"}])
    connection.commit()


def _nested(connection: Connection) -> None:
    with connection.begin():
        connection.execute(INSERT, {"v": "a"})
        nested = connection.begin_nested()
        connection.execute(INSERT, {"v": "b"})
        nested.rollback()


def scenario(use: Callable[[Connection], None], outbox: bool, interruption: Interruption) -> None:
    recorder, engine = Recorder(), memory()
    attached = attach(engine, recorder.as_replicator(), outbox=outbox)
    with engine.begin() as connection:
        connection.exec_driver_sql(SCHEMA)
    arrived = False
    with engine.connect() as connection:
        with interruption.armed():
            try:
                use(connection)
            except Interrupted:
                arrived = True
        assert arrived == interruption.raised
        connection.rollback()  # SQLAlchemy asks for it
        connection.execute(INSERT, {"v": "afterwards"})
        connection.commit()
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        rows = driver.execute("SELECT id, v FROM t ORDER BY id").fetchall()
        if outbox:
            recorder.writes = [
                [(one.sql, one.params, one.many) for one in entry.statements]
                for entry in pending(driver)
            ]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        if "CREATE" not in recorder.writes[0][0][0]:
            copy.execute(SCHEMA)
        recorder.replay(copy)
        assert copy.execute("SELECT id, v FROM t ORDER BY id").fetchall() == rows
    assert attached.errors == 0
    attached.detach()
    engine.dispose()


@pytest.mark.parametrize("outbox", [False, True])
@pytest.mark.parametrize("use", [_insert, _many, _nested])
def test_at_every_place(use: Callable[[Connection], None], outbox: bool) -> None:
    assert sweep(partial(scenario, use, outbox)) > 30


def test_listeners_behind_ours_are_called() -> None:
    recorder, engine, seen = Recorder(), memory(), list[str]()
    attached = attach(engine, recorder.as_replicator())
    event.listen(engine, "do_execute", lambda _, sql, *__: seen.append(sql))
    with engine.begin() as connection:
        connection.execute(text(SCHEMA))
        connection.execute(INSERT, {"v": 1})
    assert len(seen) == 2
    assert len(recorder.writes) == 2
    attached.detach()
    engine.dispose()


def test_statements_that_a_listener_ran_by_itself_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder, engine = Recorder(), memory()
    with engine.begin() as connection:
        connection.exec_driver_sql(SCHEMA)

    @event.listens_for(engine, "do_execute")
    def _(cursor: sqlite3.Cursor, sql: str, params: tuple[object, ...], _: object) -> bool:
        cursor.execute(sql, params)
        return True

    attached = attach(engine, recorder.as_replicator())
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
        connection.execute(INSERT, {"v": 1})
    with engine.begin() as connection:
        connection.execute(INSERT, {"v": 2})
    assert attached.errors >= 1
    assert "statements that were not seen" in caplog.text
    attached.detach()
    engine.dispose()


def test_tables_of_the_outbox_are_not_reflected_and_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = memory()
    attached = attach(engine, outbox=True)
    with engine.begin() as connection:
        connection.exec_driver_sql(SCHEMA)
    assert inspect(engine).get_table_names() == ["t"]
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.executescript("DROP TABLE afterquery_outbox; DROP TABLE afterquery_relay;")
        connection.execute(INSERT, {"v": 1})
        connection.commit()
        assert len(pending(driver)) == 1
    assert "were dropped" in caplog.text
    attached.detach()
    engine.dispose()
