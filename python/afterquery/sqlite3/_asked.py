"""What is asked of a connection beside the user's statements."""

from __future__ import annotations

import sqlite3

from afterquery._failures import failures
from afterquery._sql import fold
from afterquery.sqlite3._modes import own_cursor

_MISUSE = 21
"""SQLITE_MISUSE: since Python 3.12 its second row is not run, as the first one has not ended."""

_LEFT = """SELECT changes() OR EXISTS
(SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%FAIL%')"""


def left_changes(
    connection: sqlite3.Connection, sql: str, before: int, error: BaseException
) -> bool:
    """Whether a statement that failed may have changed rows that stay; `before` is `total_changes`
    before it, which also counts what triggers and cascades did until SQLite undid the statement."""
    if connection.total_changes == before or getattr(error, "sqlite_errorcode", 0) == _MISUSE:
        return False
    if not isinstance(error, sqlite3.Error) or "fail" in fold(sql):
        return True
    try:
        return bool(own_cursor(connection).execute(_LEFT).fetchone()[0])
    except sqlite3.Error:
        failures.caught("what a failed statement left could not be asked")
        return True


def counters(connection: sqlite3.Connection) -> dict[str, int]:
    """What the statement would get from the functions of these names."""
    found = own_cursor(connection).execute("SELECT last_insert_rowid(), changes()").fetchone()
    return {
        "last_insert_rowid": found[0],
        "changes": found[1],
        "total_changes": connection.total_changes,  # without ours
    }
