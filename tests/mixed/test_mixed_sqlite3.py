"""`afterquery.sqlite3.connect(replication="mixed")`: the application sees what it would see, and
real replicas are equal whatever the schema computes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery._failures import failures
from afterquery.outbox import Relay
from replication.world import (
    Primary,
    assert_same,
    both_engines,
    connect,
    contents,
    of,
    peers,
    reader,
)
from support.process import ADMIN_TOKEN
from support.recorder import Recorder

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name UNIQUE, at TEXT DEFAULT CURRENT_TIMESTAMP,
    token DEFAULT (hex(randomblob(8))));
CREATE TABLE orders (id INTEGER PRIMARY KEY, user REFERENCES users ON DELETE CASCADE, n CHECK (n));
CREATE TABLE audit (what, at DEFAULT (strftime('%f', 'now')));
CREATE TRIGGER audited AFTER UPDATE ON users BEGIN INSERT INTO audit (what) VALUES (old.name); END;
CREATE TRIGGER gone AFTER DELETE ON orders BEGIN INSERT INTO audit VALUES (old.id, random()); END;
CREATE TABLE jobs (id INTEGER PRIMARY KEY, state DEFAULT 'new', due);
CREATE INDEX by_state ON jobs (state);
CREATE TABLE settings (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE VIEW names AS SELECT name FROM users;
CREATE TRIGGER named INSTEAD OF INSERT ON names
BEGIN INSERT INTO users (name) VALUES (new.name); END;
"""


@pytest.fixture(autouse=True)
def no_errors() -> Iterator[None]:
    failures.forget()
    yield
    assert failures.counts() == {}, "an error of our own"


def traffic(db: Any) -> None:
    """What an application does."""
    db.execute("PRAGMA foreign_keys = ON")
    with db:
        db.execute("INSERT INTO users (name) VALUES (?)", ("Ada",))
        db.executemany("INSERT INTO users (name) VALUES (?)", [("Eve",), ("Bob",)])
        db.execute("INSERT INTO names VALUES ('Zoe')")
        db.executemany("INSERT INTO orders (user, n) VALUES (?, ?)", [(1, 1), (2, 2), (2, 3)])
        db.executemany("INSERT INTO jobs (due) VALUES (?)", [(n * 7919 % 101,) for n in range(50)])
    db.execute("ANALYZE")
    with db:
        db.execute(
            "UPDATE jobs SET state = 'mine' WHERE id IN"
            " (SELECT id FROM jobs WHERE state = 'new' AND due < 50 LIMIT 3)"
        )
        db.execute("UPDATE users SET name = name || random() WHERE id < 3")
        db.execute("SAVEPOINT s")
        db.execute("DELETE FROM users")
        db.execute("ROLLBACK TO s")
        db.execute("DELETE FROM users WHERE id = 2")
        db.execute("REPLACE INTO users (name) SELECT name FROM users WHERE id = 3")
        db.execute("INSERT INTO settings VALUES ('a', 1) ON CONFLICT (key) DO UPDATE SET value = 2")
        db.execute("CREATE TEMP TABLE settings (key, value)")
        db.execute("INSERT INTO settings VALUES ('temp', 1)")
        db.execute("DROP TABLE temp.settings")
        db.execute("UPDATE settings SET value = random()")
    with pytest.raises(sqlite3.IntegrityError), db:
        db.execute("INSERT INTO users (name) VALUES ('Bob2'), ('Zoe')")


MODES = [{"isolation_level": level} for level in ("", "IMMEDIATE", None)]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_real_peer(tmp_path: Path, mode: dict[str, Any]) -> None:
    with peers(tmp_path, 1) as (peer,), connect(peer, ddl=True) as replicator:
        _run(tmp_path, replicator=replicator, **mode)
        assert replicator.flush(30)
        with Primary(tmp_path / "p.db") as primary:
            assert_same(primary, peer)
        assert replicator.dead_letters() == []
        assert of(replicator, peer.name).changes_differ == 0


@pytest.mark.workerd
def test_the_real_engine(tmp_path: Path) -> None:
    with both_engines(tmp_path) as processes, connect(*processes, ddl=True) as replicator:
        _run(tmp_path, replicator=replicator)
        assert replicator.flush(30)
        with Primary(tmp_path / "p.db") as primary:
            assert_same(primary, *processes)
        assert replicator.dead_letters() == []


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_outbox(tmp_path: Path, mode: dict[str, Any]) -> None:
    with peers(tmp_path, 1) as (peer,):
        _run(tmp_path, outbox=True, **mode)
        relay = Relay(tmp_path / "p.db", [peer.url], auth_token=ADMIN_TOKEN, ddl=True)
        assert relay.run(once=30)
        with Primary(tmp_path / "p.db") as primary, reader(peer) as read:
            ours = ("afterquery_", "sqlite_")
            tables = [one for one in primary.tables() if not one.name.startswith(ours)]
            assert contents(read, tables) == contents(primary.read, tables)


def _run(folder: Path, **settings: Any) -> None:
    path = folder / "p.db"
    opened = afterquery.sqlite3.connect(path, replication="mixed", **settings)
    with closing(opened) as db:
        db.executescript(SCHEMA)
        traffic(db)
    with closing(sqlite3.connect(path)) as bare:
        bare.executescript("DROP TABLE sqlite_stat1")  # a replica has its own


def followed(path: Path | str = ":memory:", **settings: Any) -> tuple[Any, Recorder]:
    recorder = Recorder()
    replicator = recorder.as_replicator()
    db = afterquery.sqlite3.connect(path, replicator=replicator, replication="mixed", **settings)
    return db, recorder


def sent(recorder: Recorder) -> list[str]:
    found = [sql for write in recorder.writes for sql, _, _ in write]
    recorder.writes.clear()
    return found


@pytest.fixture
def table() -> Iterator[tuple[Any, Recorder]]:
    db, recorder = followed(isolation_level=None)
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, at TEXT DEFAULT CURRENT_TIMESTAMP)")
    recorder.writes.clear()
    yield db, recorder
    db.close()


def test_a_strict_authorizer_sees_nothing_of_ours(table: tuple[Any, Recorder]) -> None:
    db, recorder = table
    bare = sqlite3.connect(":memory:", isolation_level=None)
    bare.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, at TEXT DEFAULT CURRENT_TIMESTAMP)")

    def strict(seen: list[Any]) -> Callable[..., int]:
        def authorize(action: int, *what: Any) -> int:
            seen.append((action, *what))
            known = action in {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_READ}
            known = known or action in {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SELECT}
            known = known or (action == sqlite3.SQLITE_FUNCTION and what[1] == "random")
            return sqlite3.SQLITE_OK if known else sqlite3.SQLITE_DENY

        return authorize

    seen: list[list[Any]] = []
    for one in (db, bare):
        seen.append([])
        one.set_authorizer(strict(seen[-1]))
        one.execute("INSERT INTO t (a) VALUES (1)")
        one.execute("UPDATE t SET a = random()")
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
            one.execute("DELETE FROM t")
    ours = [one for one in seen[0] if one[0] != sqlite3.SQLITE_TRANSACTION]
    assert set(ours) == {one for one in seen[1] if one[0] != sqlite3.SQLITE_TRANSACTION}
    assert len(sent(recorder)) == 2
    bare.close()


def test_a_text_factory_and_a_row_factory_change_nothing(table: tuple[Any, Recorder]) -> None:
    db, recorder = table
    db.text_factory = bytes
    db.row_factory = sqlite3.Row
    db.execute("INSERT INTO t (a) VALUES ('x')")
    db.execute("UPDATE t SET a = a || random()")
    ((first,), (second,)) = recorder.writes
    assert first[1][:2] == (1, "x")
    assert second[1][1].startswith("x")
    assert db.execute("SELECT a FROM t").fetchone()["a"].startswith(b"x")
    assert db.text_factory is bytes


def test_converters_change_nothing() -> None:
    db, recorder = followed(isolation_level=None, detect_types=sqlite3.PARSE_DECLTYPES)
    sqlite3.register_converter("thing", lambda _: 1 / 0)
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a thing, \"b [thing]\" DEFAULT 'x')")
    recorder.writes.clear()
    db.execute("INSERT INTO t (a) VALUES (random())")
    assert len(recorder.writes) == 1
    del sqlite3.converters["THING"]
    db.close()


TRACED = """
CREATE TABLE u (id INTEGER PRIMARY KEY, a UNIQUE, b);
CREATE TABLE log (what);
CREATE TRIGGER x AFTER UPDATE ON u BEGIN INSERT INTO log VALUES (new.a); SELECT 1; END;
INSERT INTO u (a) VALUES (1), (2), (3);
"""


def test_a_trace_callback_sees_nothing_of_ours() -> None:
    db, _ = followed(isolation_level=None)
    bare = sqlite3.connect(":memory:", isolation_level=None)
    seen: list[list[str]] = []
    for one in (db, bare):
        one.executescript(TRACED)
        one.execute("UPDATE u SET b = random()")
        seen.append([])
        one.set_trace_callback(seen[-1].append)
        one.execute("BEGIN")
        one.execute("UPDATE u SET b = random()")
        one.execute("REPLACE INTO u (a) SELECT a FROM u WHERE id < 3")
        one.executemany("UPDATE u SET a = -a, b = random() WHERE id = ?", [(3,), (4,)])
        with pytest.raises(sqlite3.IntegrityError):
            one.execute("INSERT INTO u (a) SELECT a FROM u")
        one.execute("DELETE FROM u WHERE b > random()")
        one.execute("COMMIT")
        one.set_trace_callback(None)
    assert seen[0] == seen[1]
    for one in (db, bare):
        one.close()


def test_another_connection_makes_the_table_anew(tmp_path: Path) -> None:
    """Triggers of ours would not even compile."""
    path = tmp_path / "p.db"
    db, recorder = followed(path, isolation_level=None)
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    db.execute("INSERT INTO t (a) VALUES (1)")
    db.execute("UPDATE t SET a = random()")
    with closing(sqlite3.connect(path)) as other:
        other.executescript(
            "DROP TABLE t; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, b) WITHOUT ROWID;"
        )
    recorder.writes.clear()
    db.execute("INSERT INTO t VALUES ('x', random())")
    (text,) = sent(recorder)
    assert text.startswith('INSERT INTO "t" ("k", "b") VALUES (?,?)')
    db.close()


def test_it_changes_within_a_transaction_that_has_begun(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    db, recorder = followed(path, isolation_level=None)
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    db.execute("INSERT INTO t (a) VALUES (1)")
    db.execute("UPDATE t SET a = random()")
    db.execute("BEGIN")
    with closing(sqlite3.connect(path)) as other:
        other.executescript("DROP TABLE t; CREATE TABLE t (k TEXT PRIMARY KEY, rowid, oid, a);")
    recorder.writes.clear()
    db.execute("INSERT INTO t (k, a) VALUES ('x', random())")
    db.execute("COMMIT")
    assert len(sent(recorder)) == 1
    db.close()


def test_a_lock_that_is_refused_leaves_none_behind(tmp_path: Path) -> None:
    """Who could not write holds up nobody, though his transaction has begun."""
    path = tmp_path / "p.db"
    one, _ = followed(path, timeout=0)
    two, _ = followed(path, timeout=0)
    one.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    one.execute("INSERT INTO t (a) VALUES (1)")
    for sql in ("INSERT INTO t (a) VALUES (2)", "UPDATE t SET a = random()", "DELETE FROM t"):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            two.execute(sql)
        assert two.in_transaction
    one.commit()
    two.rollback()
    two.execute("UPDATE t SET a = random()")
    two.commit()
    one.close()
    two.close()


def test_a_transaction_begins_with_its_first_statement(tmp_path: Path) -> None:
    """Until then others may write, as if we were not there."""
    path = tmp_path / "p.db"
    with closing(sqlite3.connect(path)) as bare:
        bare.execute("PRAGMA journal_mode = WAL")
        bare.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 1)"
        )
    db, recorder = followed(path, isolation_level=None, timeout=0)
    for sql in ("UPDATE t SET a = random()", "INSERT INTO t (a) VALUES (1)", "DELETE FROM t"):
        db.execute("BEGIN")
        with closing(sqlite3.connect(path, timeout=0)) as other:
            other.execute("INSERT INTO t (a) VALUES (5)")
            other.commit()
        db.execute(sql)  # from an older snapshot, it could not write
        db.execute("COMMIT")
        assert sent(recorder)
    db.close()


def test_functions_are_looked_at_again(table: tuple[Any, Recorder]) -> None:
    db, recorder = table
    db.execute("INSERT INTO t (a) VALUES (-5)")
    recorder.writes.clear()
    db.execute("UPDATE t SET a = abs(a)")
    assert sent(recorder) == ["UPDATE t SET a = abs(a)"]
    db.create_function("abs", 1, lambda _: 7)
    db.execute("UPDATE t SET a = abs(a)")
    (text,) = sent(recorder)
    assert text.startswith('INSERT INTO "t"')


def test_settings_are_looked_at_again(table: tuple[Any, Recorder]) -> None:
    db, recorder = table
    db.execute("CREATE TABLE c (t REFERENCES t ON DELETE CASCADE)")
    db.execute("INSERT INTO t (id) VALUES (1)")
    db.execute("INSERT INTO c VALUES (1)")
    recorder.writes.clear()
    db.execute("DELETE FROM t WHERE id = 99")
    assert sent(recorder) == ["DELETE FROM t WHERE id = 99"]
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("DELETE FROM t")
    assert sorted(sent(recorder)) == [
        'DELETE FROM "c" WHERE rowid = ?',
        'DELETE FROM "t" WHERE "id" = ?',
    ]


def test_the_ids_of_many_rows(table: tuple[Any, Recorder]) -> None:
    db, recorder = table
    db.execute("CREATE TABLE p (id INTEGER PRIMARY KEY, a)")
    db.execute("BEGIN")
    cursor = db.executemany("INSERT INTO p (a) VALUES (?)", [(1,), (2,), (3,)])
    assert cursor.rowcount == 3
    db.executemany("INSERT INTO p VALUES (?, ?)", [(10, 1), (None, 2), (5, 3), (None, 4)])
    db.executemany("INSERT INTO t (a) VALUES (?)", [(1,), (2,)])
    recorder.writes.clear()
    db.execute("COMMIT")
    ((_, numbered, many), *images) = recorder.writes[0]
    assert many
    assert numbered == [(1, 1), (2, 2), (3, 3)]
    values = [given for _, given, _ in images]
    assert [row for given in values for row in given if isinstance(row, int)][:8]
    rows = {row for given in values for row in zip(given[::2], given[1::2], strict=False)}
    assert {(10, 1), (11, 2), (5, 3), (12, 4)} <= rows


def test_a_failing_statement_sends_nothing(table: tuple[Any, Recorder]) -> None:
    db, recorder = table
    db.execute("CREATE TABLE u (id INTEGER PRIMARY KEY, a UNIQUE, b DEFAULT (random()))")
    db.execute("INSERT INTO u (a) VALUES (1), (2)")
    recorder.writes.clear()
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO u (a) VALUES (3), (2)")
    assert sent(recorder) == []
