"""Whatever a connection does, the writes that were submitted are what it committed."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import afterquery.sqlite3
from afterquery._failures import failures
from support.recorder import Recorder

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, k UNIQUE, v)"
ROWS = "SELECT id, k, v FROM t ORDER BY id"

MODES: list[dict[str, Any]] = [
    {"isolation_level": level} for level in (None, "", "DEFERRED", "IMMEDIATE", "EXCLUSIVE")
]
if hasattr(sqlite3.Connection, "autocommit"):
    MODES += [{"autocommit": True}, {"autocommit": False}]

keys = st.integers(0, 12)
names = st.sampled_from(["a", '"A"', "[a b]", "'A B'", "`a`"])


class StopError(Exception):
    """Raised by a block of the application's."""


@dataclass
class Side:
    """A database and a connection to it: ours, or the standard library's."""

    db: sqlite3.Connection
    cursor: sqlite3.Cursor

    def run(self, call: Call) -> object:
        """What the application gets to see of a call."""
        try:
            result: object = call(self)
        except (sqlite3.Error, sqlite3.Warning, StopError) as error:
            result = type(error), str(error)
        return result, self.db.in_transaction


Call = Callable[[Side], object]


class Machine(RuleBasedStateMachine):
    """Runs statements on a followed connection, and on one of the standard library's beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.recorder = Recorder()
        self.replica = sqlite3.connect(":memory:", isolation_level=None)
        self.replica.execute(SCHEMA)
        self.reader = sqlite3.connect(self.prepared("ours"), isolation_level=None)
        self.prepared("bare")
        for opened in (self.replica, self.reader):
            self.stack.callback(opened.close)
        self.failed = failures.counts()
        self.number = 0

    def prepared(self, name: str) -> Path:
        path = Path(self.folder, name)
        with closing(sqlite3.connect(path)) as setup:
            setup.execute("PRAGMA journal_mode = WAL")  # the reader blocks nobody
            setup.execute(SCHEMA)
        return path

    @initialize(mode=st.sampled_from(MODES))
    def connect(self, mode: dict[str, Any]) -> None:
        replicator = self.recorder.as_replicator()
        ours = afterquery.sqlite3.connect(Path(self.folder, "ours"), replicator=replicator, **mode)
        bare = sqlite3.connect(Path(self.folder, "bare"), **mode)
        self.sides = [Side(db, db.cursor()) for db in (ours, bare)]
        for side in self.sides:
            if not side.db.in_transaction:
                side.db.execute("PRAGMA synchronous = OFF").close()

    def run(self, call: Call) -> None:
        self.number += 1
        ours, bare = [side.run(call) for side in self.sides]
        assert ours == bare
        if not self.sides[0].db.in_transaction:
            # Where rows of a write are still to be fetched, the standard library commits nothing.
            self.new_cursor()

    def sql(self, text: str, *parameters: Any) -> None:
        def call(side: Side) -> object:
            cursor = side.cursor.execute(text, parameters)
            return cursor.rowcount, cursor.lastrowid

        self.run(call)

    @rule(key=keys, verb=st.sampled_from(["INSERT", "/* ; */ insert", "-- c\nReplace", ";INSERT"]))
    def insert(self, key: int, verb: str) -> None:
        self.sql(f"{verb} INTO t (k, v) VALUES (?, ?)", key, self.number)

    @rule(key=keys)
    def insert_from_a_table_expression(self, key: int) -> None:
        self.sql(
            "WITH x (k) AS (SELECT ?) INSERT INTO t (k, v) SELECT k, ? FROM x ORDER BY k",
            key,
            self.number,
        )

    @rule(key=keys, conflict=st.sampled_from(["ROLLBACK", "FAIL", "ABORT", "IGNORE", "REPLACE"]))
    def insert_three(self, key: int, conflict: str) -> None:
        text = f"INSERT OR {conflict} INTO t (k, v) VALUES (?, ?), (?, ?), (?, ?)"
        self.sql(text, key, self.number, key + 1, self.number, key + 2, self.number)

    @rule(key=keys, fetch=st.booleans())
    def insert_returning(self, key: int, fetch: bool) -> None:
        def call(side: Side) -> object:
            side.cursor.execute("INSERT INTO t (k) VALUES (?), (?) RETURNING id", (key, key + 1))
            return side.cursor.fetchall() if fetch else None

        self.run(call)

    @rule(key=keys)
    def update(self, key: int) -> None:
        self.sql("UPDATE t SET k = k + 1, v = ? WHERE k = ?", self.number, key)

    @rule(key=keys)
    def delete(self, key: int) -> None:
        self.sql("DELETE FROM t WHERE k = ?", key)

    @rule(found=st.lists(keys, max_size=4), stop=st.booleans())
    def many(self, found: list[int], stop: bool) -> None:
        def rows() -> Iterator[tuple[int, int]]:
            yield from ((key, self.number) for key in found)
            if stop:
                raise StopError

        text = "INSERT INTO t (k, v) VALUES (?, ?)"
        self.run(lambda side: side.cursor.executemany(text, rows()).rowcount)

    @rule()
    def fail(self) -> None:
        self.sql("INSERT INTO missing VALUES (1)")

    @rule(kind=st.sampled_from(["BEGIN", "begin immediate", "/**/ Begin Exclusive"]))
    def begin(self, kind: str) -> None:
        self.sql(kind)

    @rule(text=st.sampled_from(["COMMIT", "end", "ROLLBACK", "rollback transaction"]))
    def end(self, text: str) -> None:
        self.sql(text)

    @rule(name=names)
    def savepoint(self, name: str) -> None:
        self.sql(f"savepoint {name}")

    @rule(name=names, text=st.sampled_from(["RELEASE", "release -- x\n savepoint"]))
    def release(self, name: str, text: str) -> None:
        self.sql(f"{text} {name}")

    @rule(name=names, text=st.sampled_from(["ROLLBACK TO", "rollback transaction to savepoint"]))
    def roll_back_to(self, name: str, text: str) -> None:
        self.sql(f"{text} {name}")

    @rule()
    def commit(self) -> None:
        self.run(lambda side: side.db.commit())

    @rule()
    def roll_back(self) -> None:
        self.run(lambda side: side.db.rollback())

    @rule(key=keys, stop=st.booleans())
    def block(self, key: int, stop: bool) -> None:
        def call(side: Side) -> None:
            with side.db:
                side.db.execute("INSERT INTO t (k) VALUES (?)", (key,))
                if stop:
                    raise StopError

        self.run(call)

    @rule(key=keys, text=st.sampled_from(["", "BEGIN;", "BEGIN; SAVEPOINT a;", "COMMIT;"]))
    def script(self, key: int, text: str) -> None:
        end = "COMMIT;" if self.number % 2 else ""
        script = (
            f"{text} INSERT INTO t (k) VALUES ({key}); SELECT * FROM t; {end}"
            f"INSERT INTO t (k) VALUES ({key + 1}) RETURNING id; RELEASE a; SELECT 1"
        )
        self.new_cursor()
        self.run(lambda side: side.cursor.executescript(script).rowcount)

    @rule(level=st.sampled_from([None, "", "IMMEDIATE"]))
    def set_isolation_level(self, level: Any) -> None:
        self.run(lambda side: setattr(side.db, "isolation_level", level))

    @rule(value=st.sampled_from([True, False, -1]))
    def set_autocommit(self, value: int) -> None:
        if hasattr(sqlite3.Connection, "autocommit"):
            self.run(lambda side: setattr(side.db, "autocommit", value))

    @rule()
    def new_cursor(self) -> None:
        for side in self.sides:
            side.cursor.close()
            side.cursor = side.db.cursor()

    @invariant()
    def same(self) -> None:
        self.recorder.replay(self.replica)
        wanted = self.reader.execute(ROWS).fetchall()
        assert self.replica.execute(ROWS).fetchall() == wanted
        assert failures.counts() == self.failed

    def teardown(self) -> None:
        with self.stack:
            for side in getattr(self, "sides", ()):
                side.db.close()  # with whatever is open
            self.same()
            with closing(sqlite3.connect(Path(self.folder, "bare"))) as bare:
                wanted = bare.execute(ROWS).fetchall()
            assert self.reader.execute(ROWS).fetchall() == wanted


Machine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCommitted = Machine.TestCase


STEPS = ["SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "ROLLBACK TO b", "RELEASE a", "RELEASE b"]


# The last `a` is the first one: the second went with the way back to `b`.
@example(["SAVEPOINT a", "write", "SAVEPOINT b", "SAVEPOINT a", "ROLLBACK TO b", "ROLLBACK TO a"])
@settings(max_examples=300, deadline=None)
@given(steps=st.lists(st.sampled_from([*STEPS, "write", "write"]), min_size=4, max_size=16))
def test_savepoints_of_the_same_names_in_each_other(steps: list[str]) -> None:
    recorder = Recorder()
    replicator = recorder.as_replicator()
    with (
        closing(afterquery.sqlite3.connect(":memory:", replicator=replicator)) as db,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as replica,
    ):
        db.execute(SCHEMA)
        db.execute("BEGIN")
        for number, step in enumerate(steps):
            with suppress(sqlite3.OperationalError):  # there is no such savepoint
                if step == "write":
                    db.execute("INSERT INTO t (k) VALUES (?)", (number,))
                else:
                    db.execute(step)
        db.commit()
        recorder.replay(replica)
        assert replica.execute(ROWS).fetchall() == db.execute(ROWS).fetchall()
