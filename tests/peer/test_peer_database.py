"""The peer's file: what it must be, and what happens to a text on it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from afterquery._errors import ConfigurationError
from afterquery.peer import Peer, connect
from support.asgi import ask
from support.client import Answer
from support.process import ADMIN_TOKEN, CLIENT_TOKEN


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


@pytest.fixture
def peer(db: Path) -> Iterator[Peer]:
    peer = Peer(db, admin_token=ADMIN_TOKEN, client_token=CLIENT_TOKEN)
    yield peer
    peer.close()


def query(peer: Peer, sql: str, token: str = ADMIN_TOKEN) -> Answer:
    body = json.dumps({"sql": sql}).encode()
    return ask(peer, body, headers={"authorization": f"Bearer {token}"})


def rows(db: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_it_must_be_a_file(path: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a file"):
        Peer(path, admin_token="t")


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"the folder of .*nowhere/copy\.db does not exist"
    ):
        Peer(tmp_path / "nowhere" / "copy.db", admin_token="t")


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder"):
        Peer(tmp_path, admin_token="t")


def test_a_file_that_is_no_database(db: Path) -> None:
    db.write_text("This is no database. " * 100)
    with pytest.raises(ConfigurationError, match=r"copy\.db: file is not a database"):
        Peer(db, admin_token="t")


def test_a_database_in_another_encoding(db: Path) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(ConfigurationError, match="is UTF-16le, and must be UTF-8"):
        Peer(db, admin_token="t")


def test_it_has_a_write_ahead_log(peer: Peer, db: Path) -> None:
    assert query(peer, "CREATE TABLE t (a)").status == 200
    assert rows(db, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_synchronous(db: Path, synchronous: connect.Synchronous, number: int) -> None:
    with closing(connect.writer(connect.checked(db), synchronous, 1_000_000)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_text_can_be_taken_back_as_a_whole(db: Path) -> None:
    peer = Peer(db, admin_token=ADMIN_TOKEN, rollback_on_error=True)
    try:
        query(peer, "CREATE TABLE t (a UNIQUE)")
        text = "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)"
        assert query(peer, f"{text}; INSERT INTO t VALUES (1)").status == 500
        assert query(peer, f"{text}; -- no statement").status == 500
        assert query(peer, f"{text}; COMMIT; INSERT INTO t VALUES (1)").status == 500
        assert rows(db, "SELECT a FROM t") == []
        assert query(peer, text).status == 200
        assert rows(db, "SELECT a FROM t") == [(1,), (2,)]
    finally:
        peer.close()


def test_a_request_cannot_end_the_transaction_with_the_peers_own_words(
    peer: Peer, db: Path
) -> None:
    query(peer, "CREATE TABLE t (a UNIQUE)")
    for verb in ("COMMIT", "ROLLBACK", "BEGIN IMMEDIATE", "BEGIN"):
        answer = query(peer, f"INSERT INTO t VALUES ('{verb}');{verb}")
        assert answer.error.startswith("To execute a transaction")
    assert len(rows(db, "SELECT a FROM t")) == 4


def test_a_file_that_another_program_has_locked(
    peer: Peer, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = query(peer, "CREATE TABLE t (a)")
        other.execute("ROLLBACK")
    assert answer.status == 503
    assert answer.error == "database is locked: SQLITE_BUSY"
    assert answer.headers["retry-after"] == "1"
    assert query(peer, "CREATE TABLE t (a)").status == 200


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE u (a)",
        "INSERT INTO t VALUES (2)",
        "SELECT a FROM t; DELETE FROM t",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "DROP TABLE t",
        "PRAGMA query_only = OFF",
        "EXPLAIN SELECT 1; DELETE FROM t",
    ],
)
def test_the_client_token_cannot_write(peer: Peer, db: Path, sql: str) -> None:
    query(peer, "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    assert query(peer, sql, CLIENT_TOKEN).status == 500
    assert query(peer, "SELECT a FROM t", CLIENT_TOKEN).result == [{"a": 1}]
    assert rows(db, "SELECT name FROM sqlite_schema") == [("t",)]


@pytest.mark.parametrize(
    "sql",
    [
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "PRAGMA table_info(t)",
        "-- first\nSELECT 1",
        "VALUES (1)",
        "EXPLAIN DELETE FROM t",
    ],
)
def test_the_client_token_reads_in_every_form(peer: Peer, sql: str) -> None:
    query(peer, "CREATE TABLE t (a)")
    assert query(peer, sql, CLIENT_TOKEN).status == 200


def test_a_lone_surrogate_is_refused(peer: Peer) -> None:
    answer = query(peer, "SELECT '\ud800'")
    assert (answer.status, answer.error) == (
        500,
        "the text is no valid Unicode at character 8: SQLITE_MISMATCH",
    )
    body = b'{"sql": "SELECT ?", "params": ["\\ud800"]}'
    assert ask(peer, body).error == "a parameter is no valid Unicode: SQLITE_MISMATCH"


def test_the_limit_on_a_text_can_be_set(db: Path) -> None:
    peer = Peer(db, admin_token=ADMIN_TOKEN, max_sql_bytes=20)
    try:
        assert query(peer, "SELECT 1 AS a").status == 200
        assert query(peer, "SELECT 1 AS a_long_name").error == ("statement too long: SQLITE_TOOBIG")
    finally:
        peer.close()


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.mark.parametrize("rollback_on_error", [False, True])
def test_a_text_that_does_not_end_is_stopped(db: Path, rollback_on_error: bool) -> None:
    peer = Peer(
        db,
        admin_token=ADMIN_TOKEN,
        client_token=CLIENT_TOKEN,
        max_seconds=0.2,
        rollback_on_error=rollback_on_error,
    )
    try:
        query(peer, "CREATE TABLE t (a)")
        for sql, token in [
            (f"INSERT INTO t VALUES (1); {ENDLESS} INSERT INTO t SELECT i FROM n", ADMIN_TOKEN),
            (f"INSERT INTO t VALUES (2); {ENDLESS} SELECT count(*) FROM n", ADMIN_TOKEN),
            (f"{ENDLESS} SELECT count(*) FROM n", CLIENT_TOKEN),
        ]:
            start = time.monotonic()
            answer = query(peer, sql, token)
            assert (answer.status, answer.error) == (503, "interrupted: SQLITE_INTERRUPT")
            assert answer.headers["retry-after"] == "1"
            assert time.monotonic() - start < 5
        assert rows(db, "SELECT a FROM t") == []
        assert query(peer, "INSERT INTO t VALUES (3)").status == 200
        assert query(peer, "SELECT a FROM t", CLIENT_TOKEN).result == [{"a": 3}]
    finally:
        peer.close()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_text_needs_some_time(db: Path, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="max_seconds must be more than 0"):
        Peer(db, admin_token="t", max_seconds=seconds)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE sqlite_temp_master SET sql = ''",
        "UPDATE temp.sqlite_master SET sql = ''",
        "UPDATE sqlite_temp_schema SET tbl_name = 'x'",
        "ALTER TABLE temp.t RENAME TO u",
    ],
)
def test_the_temporary_schema_stays_out_of_reach(peer: Peer, db: Path, sql: str) -> None:
    query(peer, "CREATE TABLE t (a)")
    assert query(peer, sql).status == 500
    assert query(peer, "ALTER TABLE t RENAME TO u").status == 200
    assert query(peer, sql.replace("t RENAME", "u RENAME")).status == 500
    assert rows(db, "SELECT name FROM sqlite_schema") == [("u",)]
