"""The outbox: a table of the application's own database, with a row for each transaction.

The row is written by the transaction itself, directly before its COMMIT: there is one exactly if
the transaction was committed. SQLite has one writer at a time, so the ids have the order of the
commits, of all processes on the file; AUTOINCREMENT gives none twice, and one that was rolled back
is given again, so they have no gaps.

It is written through a view: what a trigger inserts does not move last_insert_rowid(). And what
changes() told before it, it tells again afterwards: a statement that changes as many rows, and
nothing, sets it. Only total_changes() goes on counting.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from afterquery._failures import failures, interrupted
from afterquery.outbox._values import Statement, decode

NOW = "((julianday('now') - 2440587.5) * 86400.0)"
"""Seconds since 1970, to the millisecond, by the clock of the machine that SQLite runs on."""

SCHEMA = (
    f"""
    CREATE TABLE IF NOT EXISTS afterquery_outbox (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      made REAL NOT NULL DEFAULT {NOW},
      mark BLOB NOT NULL DEFAULT (randomblob(8)),
      statements TEXT NOT NULL
    )
    """,
    """
    CREATE VIEW IF NOT EXISTS afterquery_outbox_entry AS SELECT statements FROM afterquery_outbox
    """,
    """
    CREATE TRIGGER IF NOT EXISTS afterquery_outbox_write
    INSTEAD OF INSERT ON afterquery_outbox_entry
    BEGIN INSERT INTO afterquery_outbox (statements) VALUES (new.statements); END
    """,
    """
    CREATE TABLE IF NOT EXISTS afterquery_relay (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      origin TEXT NOT NULL,
      base INTEGER NOT NULL DEFAULT 0,
      holder TEXT,
      expires REAL NOT NULL DEFAULT 0
    ) WITHOUT ROWID
    """,
)
"""WITHOUT ROWID: nor does the row of the origin move last_insert_rowid()."""
ORIGIN = "INSERT OR IGNORE INTO afterquery_relay (id, origin) VALUES (1, ?)"
NAMES = frozenset({"afterquery_outbox", "afterquery_outbox_entry", "afterquery_relay"})
"""Our tables and our view in the application's schema."""
IS_INSTALLED = """
SELECT count(*) = 4 FROM sqlite_schema
WHERE name IN ('afterquery_outbox', 'afterquery_outbox_entry', 'afterquery_outbox_write',
               'afterquery_relay')
"""
_EXTENT = """
SELECT origin, base, (SELECT min(id) FROM afterquery_outbox),
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'afterquery_outbox'), 0)
FROM afterquery_relay
"""
MARK = "afterquery_outbox_seal"
"""The savepoint that takes the row back when a COMMIT fails."""
DROPPED = (
    "the tables of the outbox were dropped, and are made anew: what was in them is lost to the"
    " replicas unless it was delivered; see docs/integrations.md"
)
# The semicolons: before a word that it knows, sqlite3 may begin a transaction.
WRITE = ";INSERT INTO afterquery_outbox_entry (statements) VALUES (?)"
_ONE = ";UPDATE sqlite_sequence SET seq = seq WHERE name = 'afterquery_outbox'"
"""Changes one row, on a page that was written just now."""
_SIXTEEN = ",".join(["(0)"] * 16)
_MANY = f"""
;WITH n (i) AS (VALUES {_SIXTEEN})
INSERT INTO afterquery_relay (id, origin)
SELECT 1, '' FROM n a, n b, n c, n d, n e, n f, n g, n h WHERE true LIMIT ?
ON CONFLICT (id) DO UPDATE SET base = base
"""
"""Changes one row so many times. A recursion would take three times as long."""


@dataclass(frozen=True)
class Entry:
    """One committed transaction."""

    id: int
    made: float
    """When, in seconds since 1970."""
    mark: bytes
    """Random: tells the row from another that got its id after a backup was restored."""
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Extent:
    """What the outbox holds, and held."""

    origin: str
    """The identity of the journal that its transactions go to: a UUID."""
    base: int
    """The last id that was relayed under an earlier origin; number n of this one is id base + n."""
    deleted: int
    """The last id that was relayed and deleted."""
    last: int
    """The last id that was given."""


def install(connection: sqlite3.Connection) -> None:
    """Make the tables where they are missing. Raises `sqlite3.Error`."""
    if not _value(connection, IS_INSTALLED):
        with transaction(connection) as cursor:
            _make(cursor)


def seal(cursor: Any, text: str) -> bool:
    """Write the row of the open transaction into it, behind the savepoint `MARK`; whether the
    tables had to be made. changes() is then what it was. Raises `sqlite3.Error`."""
    cursor.execute(f"SAVEPOINT {MARK}")
    try:
        write(cursor, text)
    except Exception as error:
        if interrupted(error) or cursor.execute(IS_INSTALLED).fetchone()[0]:
            raise
        _make(cursor)
        write(cursor, text)
        return True
    return False


def _make(cursor: Any) -> None:
    before = _changes(cursor)
    for statement in SCHEMA:
        cursor.execute(statement)
    cursor.execute(ORIGIN, (str(uuid.uuid4()),))
    cursor.execute(_MANY, (before,))


def write(cursor: Any, text: str, written: list[object] | None = None) -> None:
    """Write the row of a transaction into it; changes() is then what it was. `cursor` is one of
    Python's `sqlite3`, or of what behaves like it; `written` is not empty as soon as the row is
    there. Raises `sqlite3.Error`; no error of a counter, unless it ended the transaction."""
    written = [] if written is None else written
    inside = _in_transaction(cursor)
    before = _changes(cursor)
    # Into a view, so that changes() is 0. In one step: see `afterquery.sqlite3._follower.Run`.
    written.extend(starmap(cursor.execute, ((WRITE, (text,)),)))
    try:
        if before == 1:
            cursor.execute(_ONE)
        elif before > 1:
            cursor.execute(_MANY, (before,))
    except Exception:
        if inside and not _in_transaction(cursor):
            raise  # one that is interrupted, by a progress handler say, takes all with it
        failures.caught("changes() is not what it was before a COMMIT")


def _in_transaction(cursor: Any) -> bool:
    connection = getattr(cursor, "connection", None)  # not every driver's cursor tells it
    return connection is None or bool(connection.in_transaction)


def _changes(cursor: Any) -> int:
    number: int = cursor.execute("SELECT changes()").fetchone()[0]
    return number


def origin(connection: sqlite3.Connection) -> str:
    """The identity of the journal that its transactions go to, a UUID. Raises `sqlite3.Error`."""
    return str(_value(connection, "SELECT origin FROM afterquery_relay"))


def extent(connection: sqlite3.Connection) -> Extent:
    """What the outbox holds now. Raises `sqlite3.Error`."""
    name, base, first, last = sqlite3.Cursor(connection).execute(_EXTENT).fetchone()
    return Extent(name, base, last if first is None else first - 1, last)


def mark(connection: sqlite3.Connection, number: int) -> bytes | None:
    """The mark of the row with the id `number`; None where there is no such row."""
    sql = "SELECT mark FROM afterquery_outbox WHERE id = ?"
    row = sqlite3.Cursor(connection).execute(sql, (number,)).fetchone()
    return None if row is None else row[0]


def new_origin(connection: sqlite3.Connection, through: int) -> str:
    """Forget the transactions up to the id `through`, and number the others anew, as another
    origin; its name. Raises `sqlite3.Error`."""
    name = str(uuid.uuid4())
    with transaction(connection) as cursor:
        cursor.execute("DELETE FROM afterquery_outbox WHERE id <= ?", (through,))
        cursor.execute("UPDATE afterquery_relay SET origin = ?, base = ?", (name, through))
    return name


_READ_CHARACTERS = 4_000_000
"""How much is read at a time: a backlog of large rows must not fill the memory."""


def pending(connection: sqlite3.Connection, after: int = 0, limit: int = 1_000) -> list[Entry]:
    """The first `limit` transactions whose id is greater than `after`, in order; fewer where they
    are large, but at least one.

    Raises `sqlite3.Error`, and ValueError for a row that was not written by us.
    """
    rows = sqlite3.Cursor(connection).execute(
        "SELECT id, made, mark, statements FROM afterquery_outbox WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    )
    entries, size = [], 0
    for number, made, mark, text in rows:
        entries.append(Entry(number, made, mark, decode(text)))
        size += len(text)
        if size >= _READ_CHARACTERS:
            break
    # Else the statement would go on holding the transaction that it reads in.
    rows.close()
    return entries


def delete_through(connection: sqlite3.Connection, last: int) -> int:
    """Delete the transactions up to and including the id `last`; how many there were.

    Deleting twice is harmless. Raises `sqlite3.Error`.
    """
    with transaction(connection) as cursor:
        cursor.execute("DELETE FROM afterquery_outbox WHERE id <= ?", (last,))
        return cursor.rowcount


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Cursor]:
    """A transaction of ours, which no integration follows, in whatever mode the connection is."""
    cursor = sqlite3.Cursor(connection)
    if connection.in_transaction:
        raise sqlite3.ProgrammingError("the connection is in a transaction")
    cursor.execute("BEGIN IMMEDIATE")
    try:
        yield cursor
        cursor.execute("COMMIT")
    finally:
        if connection.in_transaction:
            cursor.execute("ROLLBACK")


def _value(connection: sqlite3.Connection, sql: str) -> object:
    row: tuple[object] = sqlite3.Cursor(connection).execute(sql).fetchone()
    return row[0]
