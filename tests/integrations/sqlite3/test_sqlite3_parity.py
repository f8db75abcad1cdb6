"""What an application sees with `afterquery.sqlite3` is what it sees with `sqlite3`."""

from __future__ import annotations

import logging
import logging.config
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import afterquery.peer
import afterquery.sqlite3
from afterquery import Replicator
from afterquery._failures import failures
from replication.world import Primary, assert_same, connect, peers, prepare
from support.peer import PeerProcess

SCHEMA = """
CREATE TABLE books (id INTEGER PRIMARY KEY, title UNIQUE, at);
CREATE TABLE seen (n INTEGER PRIMARY KEY, what);
CREATE TRIGGER note AFTER INSERT ON books WHEN new.at = 'told'
BEGIN INSERT INTO seen (what) VALUES (new.title); END;
CREATE TRIGGER halfway AFTER INSERT ON books WHEN new.title = 'keep'
BEGIN SELECT raise(FAIL, 'stop'); END;
"""
MODES: list[dict[str, Any]] = [{}, {"isolation_level": None}]
if sys.version_info >= (3, 12):
    MODES += [{"autocommit": True}, {"autocommit": False}]
RETURNING = "INSERT INTO books (title) VALUES (?) RETURNING id, title"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    with peers(tmp_path_factory.mktemp("peer"), 1) as (one,):
        yield one


@pytest.fixture
def replicator(peer: PeerProcess) -> Iterator[Replicator]:
    drops = "DROP TABLE IF EXISTS books; DROP TABLE IF EXISTS seen;"
    prepare(drops + SCHEMA, peer)
    failures.forget()
    with connect(peer) as one:
        yield one


def story(db: sqlite3.Connection, rows: list[Any]) -> list[Any]:
    """What somebody sees who has `executemany` return rows."""
    seen: list[Any] = []
    cursor = db.cursor()
    try:
        cursor.executemany(RETURNING, iter(rows))
    except sqlite3.Error as error:
        seen.append((type(error), str(error), getattr(error, "sqlite_errorname", None)))
    seen.append(cursor.fetchall())
    seen.append(cursor.lastrowid)
    db.commit()
    # Once more, where what is left of the first one could stand in the way.
    with suppress(sqlite3.Error):
        cursor.executemany(RETURNING, [("again",)])
    try:
        db.commit()  # a row that nobody fetched may stand in its way
    except sqlite3.Error as error:
        seen.append(str(error))
    seen.append(cursor.fetchall())
    db.commit()
    seen.append(db.execute("SELECT * FROM books ORDER BY id").fetchall())
    return seen


@pytest.mark.parametrize("mode", MODES, ids=repr)
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("a",)],
        [("a",), ("b",), ("c",)],
        [("old",), ("b",)],
        [("a",), ("old",)],
        [("keep",), ("b",)],
        [("a",), ("keep",)],
    ],
    ids=repr,
)
def test_executemany_that_returns_rows(
    tmp_path: Path, peer: PeerProcess, replicator: Replicator, mode: dict[str, Any], rows: list[Any]
) -> None:
    with Primary(tmp_path / "p.db", SCHEMA) as primary:
        other = sqlite3.connect(":memory:", **mode)
        db = afterquery.sqlite3.connect(primary.path, replicator=replicator, **mode)
        other.executescript(SCHEMA)
        for connection in (other, db):
            connection.execute("INSERT INTO books (title) VALUES ('old')")
            connection.commit()
        ours, theirs = story(db, rows), story(other, rows)
        if sys.version_info < (3, 11):
            # There sqlite3 leaves the statement open that it refused, and no COMMIT succeeds.
            ours, theirs = [ours[0], ours[-1]], [theirs[0], theirs[-1]]
        assert ours == theirs
        db.close()
        other.close()
        assert replicator.flush(30)
        assert_same(primary, peer)
    assert failures.counts() == {}


def test_a_column_of_returning_keeps_its_name(tmp_path: Path, replicator: Replicator) -> None:
    sql = (
        "INSERT INTO books (title, at) VALUES ('x', CURRENT_TIMESTAMP)"
        " RETURNING id, CURRENT_DATE, random()"
    )
    with Primary(tmp_path / "p.db", SCHEMA) as primary:
        db = afterquery.sqlite3.connect(primary.path, replicator=replicator)
        names = [column[0] for column in db.execute(sql).description]
        db.close()
    assert names == ["id", "CURRENT_DATE", "random()"]
    # What is not sent cannot differ.
    assert "random()" not in str(afterquery.classify(sql).statements[0].reasons)
    assert replicator.stats().nondeterministic == 0


def test_what_an_authorizer_ignores_is_told(tmp_path: Path, replicator: Replicator) -> None:
    def guard(action: int, _: str | None, column: str | None, *__: object) -> int:
        ignored = action in {sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_READ} and column == "at"
        return sqlite3.SQLITE_IGNORE if ignored else sqlite3.SQLITE_OK

    with Primary(tmp_path / "p.db", SCHEMA) as primary:
        db = afterquery.sqlite3.connect(primary.path, replicator=replicator, isolation_level=None)
        db.execute("INSERT INTO books (title, at) VALUES ('a', 'then')")
        db.set_authorizer(guard)
        assert db.execute("SELECT at FROM books").fetchall() == [(None,)]
        assert failures.counts() == {}
        db.execute("UPDATE books SET title = 'b', at = 'now'")
        (told,) = failures.counts()
        assert "authorizer" in told
        db.set_authorizer(lambda *_: sqlite3.SQLITE_OK)
        assert db.execute("SELECT title, at FROM books").fetchall() == [("b", "then")]
        db.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="setconfig came with Python 3.12")
def test_settings_that_replicas_do_not_have_are_told(
    tmp_path: Path, replicator: Replicator
) -> None:
    with Primary(tmp_path / "p.db", SCHEMA) as primary:
        db: Any = afterquery.sqlite3.connect(primary.path, replicator=replicator)
        trigger = getattr(sqlite3, "SQLITE_DBCONFIG_ENABLE_TRIGGER")  # noqa: B009 - not in 3.10
        db.setconfig(trigger)
        assert failures.counts() == {}
        db.setconfig(trigger, 0)
        db.execute("INSERT INTO books (title, at) VALUES ('a', 'told')")
        assert db.execute("SELECT * FROM seen").fetchall() == []
        (told,) = failures.counts()
        assert "setconfig" in told
        db.close()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("afterquery")
    root = logging.getLogger()
    before = root.handlers[:], root.level, logger.level
    yield logger
    root.handlers[:], level, own = before
    root.setLevel(level)
    logger.setLevel(own)
    logger.disabled = False


def test_a_configuration_that_does_not_name_us_does_not_mute_us(
    logger: logging.Logger, tmp_path: Path
) -> None:
    bystander, of_peer = logging.getLogger("bystander"), logging.getLogger(afterquery.peer.__name__)
    file = tmp_path / "log.ini"
    file.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=ERROR\nhandlers=\n"
    )
    configurations: list[Callable[[], object]] = [
        lambda: logging.config.fileConfig(file),
        lambda: logging.config.dictConfig({"version": 1}),
    ]
    for configure in configurations:
        configure()
        assert bystander.disabled
        assert not logger.disabled
        assert not of_peer.disabled
        bystander.disabled = False
    # What somebody says of it by its name holds.
    logging.config.dictConfig(
        {"version": 1, "loggers": {"afterquery": {"level": "CRITICAL"}}},
    )
    assert not logger.isEnabledFor(logging.ERROR)
    logger.disabled = True
    assert logger.disabled


def test_a_letter_shows_a_value_that_was_sent_ahead(
    tmp_path: Path, peer: PeerProcess, replicator: Replicator
) -> None:
    long = "it's " * 10_000
    with closing(sqlite3.connect(peer.db)) as there:
        there.execute("INSERT INTO books (title) VALUES ('taken')")
        there.commit()
    with Primary(tmp_path / "p.db", SCHEMA) as primary:
        db = afterquery.sqlite3.connect(primary.path, replicator=replicator, isolation_level=None)
        db.execute("INSERT INTO books (title, at) VALUES ('taken', ?)", (long,))
        db.close()
    assert replicator.flush(30)
    (letter,) = replicator.dead_letters()
    escaped = long.replace("'", "''")
    assert letter.statements == (f"INSERT INTO books (title, at) VALUES ('taken', '{escaped}')",)
    replicator.discard([letter])
