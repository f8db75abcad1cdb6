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
from afterquery.sqlite3._follower import Follower, Late
from afterquery.sqlite3._modes import legacy
from afterquery.sqlite3._statement import statement

Native = Callable[[str], Any]
"""`sqlite3`'s own executescript, of the user's cursor; or execute."""


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
        if legacy(connection):
            follower.committing(connection, partial(native, ""))
        else:
            native("")
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
    own = _Steps(connection)

    def choose() -> Native:
        # A script would commit first.
        return own.execute if connection.in_transaction and legacy(connection) else native

    found = statement(text)
    try:
        if found.control is not None:
            follower.control(connection, found.control, text, partial(choose(), text))
        elif found.writes:
            follower.write(connection, replace(found, begins=False), text, (), Late(choose), own)
        else:
            choose()(text)
        own._hold()
    except BaseException as error:
        follower.after_error(connection)
        if not _is_of_rows(error):
            raise
    finally:
        own.close()
    if found.control is None and not found.writes:
        if found.holds:
            follower.other(connection, text)
        follower.gathering.count(text)


class _Steps(sqlite3.Cursor):
    """Runs one statement of a script to its end."""

    def _end(self) -> None:
        if self.description is not None:
            self.execute("")

    def _hold(self) -> None:
        try:
            for _ in self:
                pass
        except sqlite3.Error as error:
            if not _is_of_rows(error):
                raise


def _is_of_rows(error: BaseException) -> bool:
    """Whether it is about rows, which nobody wants."""
    return isinstance(error, sqlite3.Error) and str(error).startswith("Could not decode")
