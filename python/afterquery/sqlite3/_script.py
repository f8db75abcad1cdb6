"""`executescript`: statement by statement, so that what commits on the way is seen."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from afterquery._core import split_statements
from afterquery._failures import failures
from afterquery.sqlite3._follower import Follower
from afterquery.sqlite3._modes import legacy, own_cursor
from afterquery.sqlite3._statement import statement

Native = Callable[[str], Any]
"""`sqlite3`'s own executescript, of the user's cursor."""


def run_script(
    connection: sqlite3.Connection, follower: Follower, script: str, native: Native
) -> None:
    """Run a script as `sqlite3` does; each transaction that it commits is a write."""
    if sys.version_info >= (3, 11) and ("\0" in script or _is_too_long(connection, script)):
        native(script)  # raises
        return
    script = script.partition("\0")[0]
    with follower.lock:
        # An empty script commits what is open, where a script does that.
        follower.committing(connection, partial(native, ""))
        for text in _split(script):
            _run(connection, follower, text, native)


def _is_too_long(connection: sqlite3.Connection, script: str) -> bool:
    if sys.version_info < (3, 11):
        return False  # asked for each statement there
    longest = connection.getlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH)
    return len(script) * 4 > longest and len(script.encode(errors="replace")) > longest


def _split(script: str) -> list[str]:
    try:
        return split_statements(script)
    except Exception:
        failures.caught("a script could not be split, and is not replicated")
        return [script]


def _run(connection: sqlite3.Connection, follower: Follower, text: str, native: Native) -> None:
    def run(sql: str, _: Any) -> sqlite3.Cursor | None:
        if connection.in_transaction and legacy(connection):
            return _step(connection, sql)  # a script would commit first
        native(sql)
        return None

    found = statement(text)
    if found.control is not None:
        inside = connection.in_transaction and legacy(connection)
        own = own_cursor(connection).execute if inside else native
        follower.control(connection, found.control, text, partial(own, text))
    elif found.writes:
        follower.write(connection, replace(found, begins=False), text, (), run)
    else:
        try:
            run(text, ())
        except BaseException:
            follower.after_error(connection)
            raise
        if found.holds:
            follower.other(connection, text)
        follower.gathering.count(text)


def _step(connection: sqlite3.Connection, sql: str) -> sqlite3.Cursor:
    """Run one statement to its end; nobody wants its rows."""
    cursor = own_cursor(connection)
    try:
        cursor.execute(sql)
        for _ in cursor:
            pass
    except sqlite3.Error as error:
        if not str(error).startswith("Could not decode"):
            raise
    finally:
        cursor.close()
    return cursor
