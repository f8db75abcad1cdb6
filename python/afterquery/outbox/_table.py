"""The outbox: a table of the application's own database, with a row for each transaction.

The row is written by the transaction itself, directly before its COMMIT: there is one exactly if
the transaction was committed. SQLite has one writer at a time, so the ids have the order of the
commits, of all processes on the file; AUTOINCREMENT gives none twice, and one that was rolled back
is given again, so they have no gaps.

It is written through a view: what a trigger inserts does not move last_insert_rowid().
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from afterquery.outbox._values import Statement, decode

NOW = "((julianday('now') - 2440587.5) * 86400.0)"
"""Seconds since 1970, to the millisecond, by the clock of the machine that SQLite runs on."""

_SCHEMA = (
    f"""
    CREATE TABLE IF NOT EXISTS afterquery_outbox (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      made REAL NOT NULL DEFAULT {NOW},
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
      holder TEXT,
      expires REAL NOT NULL DEFAULT 0
    )
    """,
)
_INSTALLED = """
SELECT count(*) FROM sqlite_schema
WHERE name IN ('afterquery_outbox', 'afterquery_outbox_entry', 'afterquery_outbox_write')
"""
WRITE = "INSERT INTO afterquery_outbox_entry (statements) VALUES (?)"


@dataclass(frozen=True)
class Entry:
    """One committed transaction."""

    id: int
    made: float
    """When, in seconds since 1970."""
    statements: tuple[Statement, ...]


def install(connection: sqlite3.Connection) -> None:
    """Make the tables where they are missing. Raises `sqlite3.Error`."""
    if _value(connection, _INSTALLED) == 3 and _has_origin(connection):
        return
    with transaction(connection) as cursor:
        for statement in _SCHEMA:
            cursor.execute(statement)
        cursor.execute(
            "INSERT OR IGNORE INTO afterquery_relay (id, origin) VALUES (1, ?)",
            (str(uuid.uuid4()),),
        )


def origin(connection: sqlite3.Connection) -> str:
    """The identity of the outbox, a UUID: the seqs of its writes are the ids of its rows."""
    return str(_value(connection, "SELECT origin FROM afterquery_relay"))


def pending(connection: sqlite3.Connection, after: int = 0, limit: int = 1_000) -> list[Entry]:
    """The first `limit` transactions whose id is greater than `after`, in order.

    Raises `sqlite3.Error`, and ValueError for a row that was not written by us.
    """
    rows = sqlite3.Cursor(connection).execute(
        "SELECT id, made, statements FROM afterquery_outbox WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    )
    return [Entry(number, made, decode(text)) for number, made, text in rows.fetchall()]


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


def _has_origin(connection: sqlite3.Connection) -> bool:
    tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'afterquery_relay'"
    return bool(
        _value(connection, tables) and _value(connection, "SELECT count(*) FROM afterquery_relay")
    )


def _value(connection: sqlite3.Connection, sql: str) -> object:
    row: tuple[object] = sqlite3.Cursor(connection).execute(sql).fetchone()
    return row[0]
