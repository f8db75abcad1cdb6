"""The outbox: a committed transaction has its row, and no other has."""

from __future__ import annotations

import datetime
import enum
import math
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import afterquery.sqlite3
from afterquery import outbox
from afterquery._binding import bound
from afterquery._failures import failures
from afterquery.outbox._values import Statement, decode, encode, kept
from support.docs import ROOT
from support.recorder import Recorder
from support.until import until
from support.writing import writing

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, k UNIQUE, v);
CREATE TABLE chain (h INTEGER NOT NULL);
INSERT INTO chain VALUES (1);
CREATE TABLE facts (id INTEGER PRIMARY KEY AUTOINCREMENT, worker INT, n INT, h INT);
"""
INSERT = "INSERT INTO t (k, v) VALUES (?, ?)"

values = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)


@given(params=st.lists(values) | st.dictionaries(st.text("abc", min_size=1), values))
def test_every_value_comes_back(params: Any) -> None:
    one = kept("SELECT '☃\0'", params, 3, many=False)
    (back,) = decode(encode([one]))
    # repr tells 1 from 1.0, -0.0 from 0.0, and shows NaN as equal to itself.
    assert repr(back) == repr(one)
    assert one.error is None
    assert encode([one]).isascii()


class Number(enum.IntEnum):
    ONE = 1


def test_parameters_are_kept_as_sqlite_binds_them() -> None:
    given = bound((Number.ONE, True, bytearray(b"a"), memoryview(b"b")))
    one = kept("", given, None, many=False)
    assert one.params == (1, 1, b"a", b"b")
    assert not any(isinstance(value, bool) for value in one.params)
    many = kept("", [(1,), {"a": 2.5}], None, many=True)
    assert decode(encode([many]))[0].params == ((1,), {"a": 2.5})


@pytest.mark.parametrize("value", [object(), 2**63, [1]])
def test_what_cannot_be_kept_is_told(value: object) -> None:
    (back,) = decode(encode([kept("INSERT", (value,), None, many=False)]))
    assert back.error is not None
    assert back.error.startswith("parameters: ")
    assert back.params == ()


@pytest.mark.parametrize(
    "text", ["", "{", "5", "[5]", '[["a"]]', '[["a",[{"x":1}],false,null,null]]']
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json has its own
        decode(text)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    failures.forget()
    with ExitStack() as found:
        yield found
    assert failures.counts() == {}


def opened(stack: ExitStack, path: Path, **settings: Any) -> afterquery.sqlite3.Connection:
    replicator = Recorder().as_replicator()
    db = afterquery.sqlite3.connect(path, replicator=replicator, outbox=True, **settings)
    return stack.enter_context(closing(db))


def prepared(stack: ExitStack, path: Path) -> sqlite3.Connection:
    """The application's database, and a connection that is not followed."""
    plain = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None, timeout=60)))
    plain.executescript(f"PRAGMA synchronous = OFF; {SCHEMA}")
    return plain


def texts(entries: list[outbox.Entry]) -> list[list[str]]:
    return [[one.sql for one in entry.statements] for entry in entries]


def test_a_transaction_is_a_row(stack: ExitStack, tmp_path: Path) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db")
    db.execute(INSERT, (1, b"\0"))
    db.executemany(INSERT, [(2, math.inf), (3, "nul \0")])
    assert outbox.pending(plain) == []
    db.commit()
    (entry,) = outbox.pending(plain)
    assert entry.id == 1
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    assert entry.made == pytest.approx(now, abs=60)
    assert entry.statements == (
        Statement(INSERT, (1, b"\0"), False, 1),
        Statement(INSERT, ((2, math.inf), (3, "nul \0")), True, 2),
    )
    assert db.replication is None
    db.execute(INSERT, (4, 4))
    db.rollback()
    assert len(outbox.pending(plain)) == 1


def test_a_statement_alone_is_a_row(stack: ExitStack, tmp_path: Path) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db", isolation_level=None)
    assert db.execute(INSERT, (1, 1)).lastrowid == 1
    assert db.execute("SELECT last_insert_rowid()").fetchone() == (1,)
    assert db.execute(f"{INSERT} RETURNING v", (7, 5)).fetchall() == [(5,)]
    assert db.execute("SELECT last_insert_rowid()").fetchone() == (2,)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(INSERT, (1, 1))
    db.executescript("SAVEPOINT a; DELETE FROM t; SAVEPOINT a; RELEASE a; RELEASE a; SELECT 1")
    db.execute("CREATE TEMP TABLE mine (x)")
    db.execute("INSERT INTO temp.mine VALUES (1)")
    assert texts(outbox.pending(plain))[:3] == [
        [INSERT],
        [f"{INSERT} RETURNING v"],
        ["DELETE FROM t"],
    ]
    assert outbox.pending(plain, after=1, limit=1)[0].id == 2


def test_what_has_to_be_frozen_is(stack: ExitStack, tmp_path: Path) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    with afterquery.Replicator(["http://127.0.0.1:9"], auth_token="-") as replicator:
        path = tmp_path / "p.db"
        db = afterquery.sqlite3.connect(path, replicator=replicator, outbox=True)
        stack.enter_context(closing(db))
        db.execute("INSERT INTO t (k) VALUES (randomblob(8))")
        db.commit()
    ((sql,),) = texts(outbox.pending(plain))
    assert "randomblob" not in sql


def test_a_commit_that_finds_the_database_busy_can_be_tried_again(
    stack: ExitStack, tmp_path: Path
) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db", timeout=0)
    db.execute(INSERT, (1, 1))
    reading = plain.execute("SELECT * FROM chain")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            db.commit()
    assert db.in_transaction
    reading.close()
    db.execute(INSERT, (2, 2))
    db.commit()
    (entry,) = outbox.pending(plain)
    assert (entry.id, len(entry.statements)) == (1, 2)


def test_what_is_done_already_waits_for_its_row(stack: ExitStack, tmp_path: Path) -> None:
    """CREATE ... IF NOT EXISTS needs no write lock: it comes while another one has it."""
    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db", isolation_level=None, timeout=60)
    other = stack.enter_context(writing(tmp_path / "p.db"))
    db.set_trace_callback(lambda sql: other.set() if sql == "BEGIN IMMEDIATE" else None)
    sql = "CREATE TABLE IF NOT EXISTS t (k)"
    db.execute(sql)
    db.set_trace_callback(None)
    db.executescript(f"{sql}; {sql};")
    assert texts(outbox.pending(plain)) == [[sql]] * 3


def test_a_commit_with_rows_to_fetch_fails_as_ever(stack: ExitStack, tmp_path: Path) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db")
    cursor = db.execute(f"{INSERT} RETURNING id", (1, 1))
    with pytest.raises(sqlite3.OperationalError, match="cannot commit transaction - SQL statem"):
        db.commit()
    assert cursor.fetchall() == [(1,)]
    db.commit()
    assert len(outbox.pending(plain)) == 1


def test_where_begin_is_forbidden_the_row_comes_after(stack: ExitStack, tmp_path: Path) -> None:
    def allow(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK

    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db", isolation_level=None)
    db.set_authorizer(allow)
    db.execute(INSERT, (1, 1))
    assert texts(outbox.pending(plain)) == [[INSERT]]


def test_a_row_that_cannot_be_written_is_a_commit_that_fails(
    stack: ExitStack, tmp_path: Path
) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db")
    plain.execute(
        "CREATE TRIGGER no BEFORE INSERT ON afterquery_outbox"
        " BEGIN SELECT raise(FAIL, 'afterquery_outbox'); END"
    )
    db.execute(INSERT, (1, 1))
    with pytest.raises(sqlite3.IntegrityError, match="afterquery_outbox"):
        db.commit()
    assert db.in_transaction
    db.rollback()


def test_it_is_installed_once(stack: ExitStack, tmp_path: Path) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    opened(stack, tmp_path / "p.db")
    origin = outbox.origin(plain)
    plain.execute("BEGIN IMMEDIATE")  # whoever comes later needs no lock
    opened(stack, tmp_path / "p.db", timeout=0)
    plain.execute("COMMIT")
    assert outbox.origin(plain) == origin
    if sys.version_info >= (3, 12):
        assert opened(stack, tmp_path / "other.db", autocommit=False).in_transaction


def test_deleting_does_not_give_an_id_twice(stack: ExitStack, tmp_path: Path) -> None:
    plain = prepared(stack, tmp_path / "p.db")
    db = opened(stack, tmp_path / "p.db", isolation_level=None)
    for number in range(5):
        db.execute(INSERT, (number, None))
    assert outbox.delete_through(plain, 3) == 3
    assert outbox.delete_through(plain, 3) == 0
    assert [entry.id for entry in outbox.pending(plain)] == [4, 5]
    assert outbox.delete_through(db, 5) == 2  # on a followed connection, too: it is not the user's
    db.execute(INSERT, (6, None))
    assert [entry.id for entry in outbox.pending(plain)] == [6]
    db.execute("BEGIN")
    with pytest.raises(sqlite3.ProgrammingError, match="in a transaction"):
        outbox.delete_through(db, 6)
    db.execute("ROLLBACK")


def test_the_lease(stack: ExitStack, tmp_path: Path) -> None:
    prepared(stack, tmp_path / "p.db")
    opened(stack, tmp_path / "p.db")
    a, b = (
        stack.enter_context(closing(sqlite3.connect(tmp_path / "p.db", **mode)))
        for mode in ({"isolation_level": None}, {"isolation_level": ""})
    )
    assert outbox.acquire(a, "a", 60)
    assert outbox.acquire(a, "a", 60)
    assert not outbox.acquire(b, "b", 60)
    assert not outbox.renew(b, "b", 60)
    assert not outbox.release(b, "b")
    assert outbox.renew(a, "a", 60)
    assert outbox.release(a, "a")
    assert outbox.acquire(b, "b", -1)  # it has run out already
    assert not outbox.renew(b, "b", 60)
    assert outbox.acquire(a, "a", 60)
    assert not outbox.release(b, "b")


def test_the_lease_has_one_holder(stack: ExitStack, tmp_path: Path) -> None:
    prepared(stack, tmp_path / "p.db")
    opened(stack, tmp_path / "p.db")
    got: list[str] = []

    def take(name: str) -> None:
        with closing(sqlite3.connect(tmp_path / "p.db", timeout=60)) as connection:
            if outbox.acquire(connection, name, 60):
                got.append(name)

    threads = [threading.Thread(target=take, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 1


def replay(entries: list[outbox.Entry], replica: sqlite3.Connection) -> None:
    recorder = Recorder()
    for entry in entries:
        assert all(one.error is None for one in entry.statements)
        recorder.submit([(one.sql, one.params, one.many) for one in entry.statements])
    recorder.replay(replica)


def assert_complete(primary: sqlite3.Connection, replica: sqlite3.Connection) -> int:
    """The rows of the outbox, in the order of their ids, make what was committed."""
    entries = outbox.pending(primary, limit=1_000_000)
    assert [entry.id for entry in entries] == list(range(1, len(entries) + 1))
    replay(entries, replica)
    for table in ("t", "chain", "facts"):
        select = f"SELECT * FROM {table} ORDER BY 1"
        assert replica.execute(select).fetchall() == primary.execute(select).fetchall(), table
    return len(entries)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "RELEASE a", "RELEASE b"])
        | st.sampled_from(["BEGIN", "COMMIT", "ROLLBACK", "write", "write", "many", "fail"]),
        max_size=25,
    ),
    level=st.sampled_from([None, "", "IMMEDIATE"]),
)
def test_whatever_a_connection_does(steps: list[str], level: str | None) -> None:
    with ExitStack() as stack:
        replica = stack.enter_context(closing(sqlite3.connect(":memory:", isolation_level=None)))
        db = opened(stack, Path(":memory:"), isolation_level=level)
        for connection in (db, replica):
            sqlite3.Cursor(connection).executescript(SCHEMA)
        for number, step in enumerate(steps):
            with suppress(sqlite3.OperationalError, sqlite3.IntegrityError):
                if step == "write":
                    db.execute(INSERT, (number, level))
                elif step == "many":
                    db.executemany(INSERT, [(number, 1), (-number, 2)])
                else:
                    db.execute("INSERT INTO t VALUES (1), (1)" if step == "fail" else step)
        db.rollback()
        assert_complete(db, replica)


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_processes_that_are_killed_leave_it_complete(
    stack: ExitStack, tmp_path: Path, journal: str
) -> None:
    """Four at a time write, and one of them at a time is killed, wherever it stands."""
    path = tmp_path / "p.db"
    primary = prepared(stack, path)
    primary.execute(f"PRAGMA journal_mode = {journal}")
    replica = stack.enter_context(closing(sqlite3.connect(":memory:", isolation_level=None)))
    replica.executescript(SCHEMA)
    opened(stack, path)
    chance = random.Random()
    workers: list[subprocess.Popen[bytes]] = []
    stack.callback(lambda: list(map(end, workers)))

    def rows() -> int:
        found: tuple[int] = primary.execute("SELECT count(*) FROM afterquery_outbox").fetchone()
        return found[0]

    for number in range(12):
        workers.append(worker(path, number))
        while len(workers) >= 4:
            wanted = rows() + chance.randrange(1, 150)
            until(lambda wanted=wanted: rows() >= wanted)  # type: ignore[misc]
            end(workers.pop(0))
    while workers:
        end(workers.pop())
    assert assert_complete(primary, replica) > 12
    workers_seen = primary.execute("SELECT count(DISTINCT worker) FROM facts").fetchone()
    assert workers_seen[0] > 3
    assert primary.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def worker(path: Path, number: int) -> subprocess.Popen[bytes]:
    script = ROOT / "tests/support/outbox_worker.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    return subprocess.Popen([sys.executable, str(script), str(path), str(number)], env=environment)


def end(process: subprocess.Popen[bytes]) -> None:
    """It must not have ended by itself."""
    assert process.poll() is None
    process.kill()
    process.wait(30)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there is no autocommit")
def test_a_script_that_commits_nothing_runs_beside_rows_to_fetch() -> None:
    mode: dict[str, Any] = {"autocommit": False}
    with closing(afterquery.sqlite3.connect(":memory:", outbox=True, **mode)) as db:
        db.execute("CREATE TABLE t (v)")
        db.commit()
        cursor = db.execute("INSERT INTO t VALUES (1), (2) RETURNING v")
        assert cursor.fetchone() == (1,)
        db.executescript("INSERT INTO t VALUES (3)")
        assert cursor.fetchall() == [(2,)]
        db.commit()
        assert len(outbox.pending(db)[-1].statements) == 2
