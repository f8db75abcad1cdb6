"""What is lost on its way into the outbox is told where the relay is looked after."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import afterquery.sqlite3
from afterquery import confirm_equal
from afterquery._failures import failures
from afterquery.outbox import Relay
from afterquery.sqlalchemy import attach
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.until import until

INSERT = "INSERT INTO t VALUES (1)"
Lose = Callable[[Path], None]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    failures.forget()
    path = tmp_path / "app.db"
    with closing(afterquery.sqlite3.connect(path, outbox=True)) as db:
        db.execute("CREATE TABLE t (n)")
    yield path
    failures.forget()


def by_sqlite3(path: Path) -> None:
    """A COMMIT that nobody saw; and the connection is closed, before anybody looks."""
    with closing(afterquery.sqlite3.connect(path, outbox=True)) as db:
        db.execute(INSERT)
        sqlite3.Connection.commit(db)
        db.execute(INSERT)
        db.commit()


def by_sqlalchemy(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    attached = attach(engine, outbox=True)
    with engine.connect() as connection:
        connection.execute(text(INSERT))
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.commit()
        connection.execute(text(INSERT))
        connection.commit()
    assert attached.errors == 1
    attached.detach()
    engine.dispose()


def dropped(path: Path) -> None:
    with closing(afterquery.sqlite3.connect(path, outbox=True)) as db:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE afterquery_outbox")
            other.execute("DROP VIEW afterquery_outbox_entry")
        db.execute(INSERT)
        db.commit()


@pytest.mark.parametrize("lose", [by_sqlite3, by_sqlalchemy, dropped])
def test_what_is_lost_is_told_by_the_relay(database: Path, peer: PeerProcess, lose: Lose) -> None:
    lose(database)
    with Relay(database, [peer.url], auth_token=ADMIN_TOKEN, ddl=True) as relay:
        until(lambda: relay.replicator is not None, 30)
        replicator = relay.replicator
        assert replicator is not None
        assert sum(replicator.stats().integrations.missed.values()) == 1
        assert replicator.flush(30) is False
        confirm_equal(replicator)
        assert not replicator.stats().integrations.missed
        assert replicator.flush(30) is True


def test_what_is_lost_does_not_keep_the_relay_from_its_end(
    database: Path, peer: PeerProcess
) -> None:
    by_sqlite3(database)
    relay = Relay(database, [peer.url], auth_token=ADMIN_TOKEN, ddl=True)
    assert relay.run(once=30) is True
    assert peer.client().query("SELECT count(*) AS n FROM t").result == [{"n": 1}]


def test_it_is_no_matter_of_other_databases(
    database: Path, peer: PeerProcess, tmp_path: Path
) -> None:
    by_sqlite3(database)
    other = tmp_path / "other.db"
    with closing(afterquery.sqlite3.connect(other, outbox=True)) as db:
        db.execute("CREATE TABLE t (n)")
    with Relay(other, [peer.url], auth_token=ADMIN_TOKEN, ddl=True) as relay:
        until(lambda: relay.replicator is not None, 30)
        assert relay.replicator is not None
        assert not relay.replicator.stats().integrations.missed


def test_a_reset_relay_begins_anew(database: Path, peer: PeerProcess) -> None:
    by_sqlite3(database)
    relay = Relay(database, [peer.url], auth_token=ADMIN_TOKEN, ddl=True)
    relay.reset()
    with relay:
        until(lambda: relay.replicator is not None, 30)
        assert relay.replicator is not None
        assert not relay.replicator.stats().integrations.missed
