"""The file under a running peer: replaced, removed, moved; and who else may open it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import afterquery.sqlite3
from afterquery import Replica, Replicator
from afterquery.peer import Peer, connect
from support.asgi import ask
from support.client import Answer
from support.docs import blocks
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN, CLIENT_TOKEN
from support.until import until


@pytest.fixture
def db(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "copy.db"


@pytest.fixture
def peer(db: Path) -> Iterator[Peer]:
    peer = Peer(db, admin_token=ADMIN_TOKEN, client_token=CLIENT_TOKEN)
    query(peer, "CREATE TABLE t (a)")
    query(peer, "INSERT INTO t VALUES ('old')")
    yield peer
    peer.close()


def query(peer: Peer, sql: str, token: str = ADMIN_TOKEN) -> Answer:
    body = f'{{"sql": "{sql}"}}'.encode()
    return ask(peer, body, headers={"authorization": f"Bearer {token}"})


def seen(peer: Peer, token: str = CLIENT_TOKEN) -> list[object]:
    return [row["a"] for row in query(peer, "SELECT a FROM t ORDER BY rowid", token).result]


def there(db: Path) -> list[object]:
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in connection.execute("SELECT a FROM t ORDER BY rowid")]


def another(path: Path, *values: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    return path


@pytest.mark.parametrize("reads_before", [False, True])
def test_a_file_that_is_put_in_its_place_is_served(
    peer: Peer, db: Path, tmp_path: Path, reads_before: bool
) -> None:
    if reads_before:
        assert seen(peer) == seen(peer, ADMIN_TOKEN) == ["old"]
    another(tmp_path / "new.db", "new").replace(db)
    if reads_before:
        assert seen(peer) == seen(peer, ADMIN_TOKEN) == ["new"]
    assert query(peer, "INSERT INTO t VALUES ('after')").status == 200
    assert seen(peer) == ["new", "after"]
    assert there(db) == ["new", "after"]
    peer.close()
    assert there(db) == ["new", "after"]


def test_a_file_that_is_put_in_its_place_with_its_own_log(
    peer: Peer, db: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with closing(sqlite3.connect(another(folder / "copy.db", "new"))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO t VALUES ('in the log')")
        connection.commit()
        for path in folder.iterdir():
            shutil.copy(path, tmp_path / path.name)
    for end in ("-wal", "-shm", ""):
        (tmp_path / f"copy.db{end}").replace(f"{db}{end}")
    assert seen(peer) == ["new", "in the log"]
    peer.close()
    assert there(db) == ["new", "in the log"]


def test_a_file_that_was_removed_is_not_written(peer: Peer, db: Path, tmp_path: Path) -> None:
    for path in db.parent.iterdir():
        path.unlink()
    for sql in ("INSERT INTO t VALUES ('lost')", "SELECT a FROM t"):
        for token in (ADMIN_TOKEN, CLIENT_TOKEN):
            answer = query(peer, sql, token)
            assert answer.status == 503
            assert answer.error.startswith("the peer's file copy.db is not there; put it back")
            assert answer.headers["retry-after"] == "1"
    assert not list(db.parent.iterdir())
    another(tmp_path / "new.db", "new").replace(db)
    assert query(peer, "INSERT INTO t VALUES ('after')").status == 200
    assert seen(peer) == there(db) == ["new", "after"]


def test_a_folder_that_is_renamed_and_comes_back(peer: Peer, db: Path) -> None:
    aside = db.parent.with_name("aside")
    db.parent.rename(aside)
    assert query(peer, "INSERT INTO t VALUES ('lost')").status == 503
    aside.rename(db.parent)
    assert query(peer, "INSERT INTO t VALUES ('after')").status == 200
    assert seen(peer) == there(db) == ["old", "after"]


@pytest.mark.parametrize("ends", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_a_log_that_was_removed_is_not_lost(peer: Peer, db: Path, ends: tuple[str, ...]) -> None:
    assert seen(peer) == ["old"]
    for end in ends:
        Path(f"{db}{end}").unlink()
    assert query(peer, "INSERT INTO t VALUES ('after')").status == 200
    assert seen(peer) == ["old", "after"]
    assert there(db) == ["old", "after"]
    peer.close()
    assert there(db) == ["old", "after"]


def test_a_log_that_was_removed_while_somebody_reads_is_not_lost(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "BUSY_SECONDS", 0.05)
    peer = Peer(db, admin_token=ADMIN_TOKEN, client_token=CLIENT_TOKEN)
    query(peer, "CREATE TABLE t (a)")
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM t").fetchall()
        assert query(peer, "INSERT INTO t VALUES ('old')").status == 200
        for end in ("-wal", "-shm"):
            Path(f"{db}{end}").unlink()
        answer = query(peer, "INSERT INTO t VALUES ('refused')")
        assert answer.status == 503
        assert "another program still reads the file: SQLITE_BUSY" in answer.error
    assert query(peer, "INSERT INTO t VALUES ('after')").status == 200
    assert seen(peer) == ["old", "after"]
    peer.close()
    assert there(db) == ["old", "after"]


def test_a_write_is_not_answered_that_went_to_a_file_that_is_gone(
    peer: Peer, db: Path, tmp_path: Path
) -> None:
    new = another(tmp_path / "new.db", "new")
    writer = peer._database._writes.runners()[0]
    assert writer._opened is not None
    # In the middle of the text, as somebody may do it.
    writer._opened.connection.create_function("replace_it", 0, lambda: str(new.replace(db)))
    answer = query(peer, "INSERT INTO t VALUES (replace_it())")
    assert answer.status == 503
    assert "was replaced or removed while the text ran" in answer.error
    assert seen(peer) == ["new"]


def test_what_is_no_database_is_not_served(peer: Peer, db: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    new.write_text("This is no database. " * 100)
    new.replace(db)
    answer = query(peer, "INSERT INTO t VALUES ('lost')")
    assert answer.status == 503
    assert "cannot use the file that is at copy.db now: file is not a database" in answer.error


def test_two_peers_on_one_file_see_that_it_was_replaced(
    peer: Peer, db: Path, tmp_path: Path
) -> None:
    second = Peer(db, admin_token=ADMIN_TOKEN, client_token=CLIENT_TOKEN)
    try:
        assert seen(second) == seen(peer) == ["old"]
        another(tmp_path / "new.db", "new").replace(db)
        for number, one in enumerate([peer, second, peer, second]):
            assert query(one, f"INSERT INTO t VALUES ('{number}')").status == 200
        assert seen(second) == seen(peer) == ["new", "0", "1", "2", "3"]
    finally:
        second.close()
    assert there(db) == ["new", "0", "1", "2", "3"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_the_files_are_their_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        peer = Peer(tmp_path / "copy.db", admin_token=ADMIN_TOKEN)
        query(peer, "CREATE TABLE t (a)")
        query(peer, "SELECT 1")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        peer.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["copy.db", "copy.db-wal", "copy.db-shm"], 0o600)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_resync_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    (code,) = [code for code in blocks("docs/peer.md", "python") if "backup" in code]
    monkeypatch.chdir(tmp_path)
    with PeerProcess(tmp_path) as peer:
        replica = Replica(peer.url, name="eu")
        replicator = Replicator([replica], auth_token=ADMIN_TOKEN, ddl=True, retry_max=0.2)
        app = afterquery.sqlite3.connect("app.db", replicator=replicator, isolation_level=None)
        app.execute("CREATE TABLE t (a)")
        app.execute("INSERT INTO t VALUES ('old')")
        assert replicator.flush(timeout=20)
        peer.client().run("DELETE FROM tmp_afterquery_watermark; DELETE FROM t")
        app.execute("INSERT INTO t VALUES ('not there yet')")
        until(lambda: replicator.stats().replicas[0].state == "diverged")

        if stopped:
            peer.stop()
            Path("copy.db-wal").write_bytes(b"left by one that was killed")
        exec(code, {})
        if stopped:
            peer.start()
        replicator.resume("eu")

        app.execute("INSERT INTO t VALUES ('after')")
        assert replicator.flush(timeout=20)
        assert replicator.stats().replicas[0].state == "live"
        expected = ["old", "not there yet", "after"]
        assert [row[0] for row in peer.client().rows("SELECT a FROM t")] == expected
        peer.stop()
        assert there(peer.db) == there(Path("app.db")) == expected
        peer.start()
        assert [row[0] for row in peer.client().rows("SELECT a FROM t")] == expected
        app.close()
        replicator.close()
