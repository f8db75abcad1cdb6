"""A primary that is followed, a bare one beside it, and a replica that applies what travels."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from types import MappingProxyType
from typing import Any

from afterquery import classify
from afterquery._mixed import Kind, Mixed
from afterquery._mixed._ddl import fit_for_copy
from mixed.schemas import Schema, quoted

WRONG = "computed on the replica"
_VOLATILE = {
    "random": 0, "randomblob": 1, "date": -1, "time": -1, "datetime": -1, "julianday": -1,
    "strftime": -1, "current_timestamp": 0, "current_date": 0, "current_time": 0, "changes": 0,
    "last_insert_rowid": 0, "total_changes": 0,
}  # fmt: skip

Sent = tuple[str, tuple[Any, ...]]


class Cursor(sqlite3.Cursor):
    rows: Any = ()


class Connection(sqlite3.Connection):
    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        return self.cursor(Cursor).execute(sql, parameters)


class Primary:
    """A connection that is followed by `Mixed`, as an integration does it."""

    def __init__(self) -> None:
        self.db = connect()
        self.sent: list[Sent] = []
        """Of the open transaction."""
        self._committed: list[Sent] = []
        self.doubts: list[str] = []
        self.kinds: dict[Kind, int] = {}
        self._marks: list[tuple[str, int]] = []
        self.mixed = Mixed(
            self.db, lambda sql, given: self.sent.append((sql, given)), self.doubts.append
        )

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> Cursor:
        found = classify(sql).statements[0]
        if found.kind == "txn":
            return self._control(sql, found.verb, found.savepoint or "")
        if found.kind not in {"write", "ddl", "unknown"}:
            cursor = self.db.execute(sql, parameters)
            cursor.rows = cursor.fetchall()
            self.mixed.other(found.verb) if found.kind == "other" else None
            return cursor
        verdict = self.mixed.judge(sql, parameters)
        self.kinds[verdict.kind] = self.kinds.get(verdict.kind, 0) + 1
        self.mixed.before(verdict)
        try:
            cursor = self.db.execute(sql, parameters)
            cursor.rows = cursor.fetchall()
        except sqlite3.Error:
            self.mixed.failed(verdict, parameters)
            raise
        else:
            self.mixed.ran(verdict, sql, parameters, cursor)
            return cursor
        finally:
            self._after()

    def settle(self) -> None:
        """Nothing is open any more."""

    @property
    def committed(self) -> list[Sent]:
        """What was committed since it was asked last."""
        taken, self._committed = self._committed, []
        return taken

    @property
    def savepoints(self) -> list[str]:
        """Their names, of those that are open."""
        return [name for name, _ in self._marks]

    def _after(self) -> None:
        if self.db.in_transaction:
            return
        if self._marks or self.inside:
            # The statement rolled the transaction back.
            self.sent.clear()
            self.mixed.rolled_back()
        else:
            self.mixed.flush()
            self.mixed.committed()
            self._committed += self.sent
            self.sent = []
        self._marks = []
        self.inside = False

    inside = False

    def _control(self, sql: str, verb: str, name: str) -> Cursor:
        if not self.db.in_transaction:
            self.mixed.begins()
        if verb in {"SAVEPOINT", "COMMIT", "RELEASE", "END"}:
            self.mixed.flush()
        cursor = self.db.execute(sql)
        if verb == "SAVEPOINT":
            self._marks.append((name, len(self.sent)))
        elif verb == "ROLLBACK" and name:
            at = max(n for n, (one, _) in enumerate(self._marks) if one == name)
            del self._marks[at + 1 :]
            del self.sent[self._marks[at][1] :]
            self.mixed.rolled_back(to=True)
        elif verb == "ROLLBACK":
            self.sent.clear()
            self.mixed.rolled_back()
            self._marks = []
        elif verb == "RELEASE":
            at = max(n for n, (one, _) in enumerate(self._marks) if one == name)
            del self._marks[at:]
        self.inside = self.db.in_transaction
        if not self.inside and verb != "ROLLBACK":
            self.mixed.committed()
            self._committed += self.sent
            self.sent, self._marks = [], []
        return cursor


class Bare:
    """The same without us."""

    def __init__(self) -> None:
        self.db = connect()

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> Cursor:
        cursor = self.db.execute(sql, parameters)
        cursor.rows = cursor.fetchall()
        return cursor


def connect() -> Connection:
    db = sqlite3.connect(":memory:", isolation_level=None, factory=Connection)
    prepare(db)
    return db


def prepare(db: sqlite3.Connection) -> None:
    """What each connection of a run has."""
    db.create_function("own", 1, lambda value: value, deterministic=True)
    db.execute("CREATE TEMP TABLE reset (a INTEGER PRIMARY KEY)")


class Replica:
    """Applies what travels later, where nothing volatile gives what it gave."""

    def __init__(self, schema: Schema) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("PRAGMA foreign_keys = ON")
        self.db.execute("PRAGMA reverse_unordered_selects = ON")
        for name, count in _VOLATILE.items():
            self.db.create_function(name, count, lambda *_: WRONG, deterministic=False)
        for text in schema.texts:
            if not text.startswith(("CREATE TEMP", "CREATE TABLE side.", "ATTACH")):
                fit = fit_for_copy(text)
                if fit is not None:
                    with suppress(sqlite3.OperationalError):
                        self.db.execute(fit)

    def apply(self, sent: Sent) -> None:
        self.db.execute(*sent).fetchall()


_TABLES = """SELECT name FROM main.sqlite_master AS o WHERE type = 'table'
AND name NOT LIKE 'sqlite%' AND NOT EXISTS (SELECT 1 FROM main.sqlite_master AS v
WHERE v.sql LIKE 'CREATE VIRTUAL%' AND substr(o.name, 1, length(v.name) + 1) = v.name || '_')"""


def rowids_of(mixed: Mixed) -> dict[str, str]:
    """The tables whose rows are known by their rowid, and what it is called there."""
    tables = mixed._current.model().tables()
    return {one.name: one.key.columns[0] for one in tables if one.key and one.key.hidden}


def content(
    db: sqlite3.Connection, rowids: Mapping[str, str] = MappingProxyType({})
) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the main database, with their types."""
    found = {}
    db.text_factory = _texts
    names = [name for (name,) in db.execute(_TABLES)]
    for name in names:
        columns = [row[1] for row in db.execute(f"PRAGMA main.table_xinfo({quoted(name)})")]
        if name in rowids:
            columns.append(rowids[name])
        listed = ", ".join(f"quote({quoted(one)})" for one in columns)
        if columns:
            found[name] = sorted(db.execute(f"SELECT {listed} FROM main.{quoted(name)}").fetchall())
    db.text_factory = str
    return found


def _texts(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


def seen(side: Any, sql: str, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an application sees of a statement."""
    before = side.db.total_changes
    try:
        cursor = side.execute(sql, parameters)
        rows = list(cursor.rows)
        result: tuple[Any, ...] = (rows, cursor.rowcount, cursor.lastrowid, cursor.description)
    except sqlite3.Error as error:
        result = (type(error).__name__, str(error))
        if "FOREIGN KEY" in str(error):
            # Where a trigger may fire, SQLite finds this out only after it has drawn the id and
            # counted the row.
            side.db.execute("REPLACE INTO temp.reset VALUES (1)")
            before = side.db.total_changes
    numbers = side.db.execute("SELECT changes(), last_insert_rowid()").fetchone()
    return (*result, numbers, side.db.total_changes - before, side.db.in_transaction)


def rng_of(seed: int) -> Random:
    return Random(f"mixed {seed}")
