"""What `sqlite3` itself does about transactions, and the cursors that we use beside the user's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

_LEGACY = -1
_isolation_level: Any = sqlite3.Connection.isolation_level
_total_changes: Any = sqlite3.Connection.total_changes
_autocommit: Any = getattr(sqlite3.Connection, "autocommit", None)


def isolation_level(connection: sqlite3.Connection) -> Any:
    """The attribute of the standard library's class, below a property of a subclass."""
    return _isolation_level.__get__(connection)


def isolation_level_setter(connection: sqlite3.Connection, level: Any) -> Callable[[], None]:
    """What sets it, in one step that no signal handler can part."""
    return partial(_isolation_level.__set__, connection, level)


@contextmanager
def true_errors() -> Iterator[None]:
    """Python 3.10 wraps the error of the COMMIT that setting `isolation_level` is."""
    try:
        yield
    except SystemError as error:
        raise (error.__cause__ or error) from None


def autocommit(connection: sqlite3.Connection) -> Any:
    """True, False, or -1 for `sqlite3.LEGACY_TRANSACTION_CONTROL`; that before Python 3.12."""
    return _LEGACY if _autocommit is None else _autocommit.__get__(connection)


def autocommit_setter(connection: sqlite3.Connection, value: Any) -> Callable[[], None]:
    """What sets it, in one step that no signal handler can part."""
    return partial(_autocommit.__set__, connection, value)


def real_total_changes(connection: sqlite3.Connection) -> int:
    """The attribute of the standard library's class. Raises `sqlite3.ProgrammingError`."""
    number: int = _total_changes.__get__(connection)
    return number


def legacy(connection: sqlite3.Connection) -> bool:
    """Whether `isolation_level` rules, and not the attribute `autocommit`."""
    return bool(autocommit(connection) == _LEGACY)


def begins(connection: sqlite3.Connection) -> bool:
    """Whether a transaction begins by itself before INSERT, UPDATE, DELETE and REPLACE."""
    return isolation_level(connection) is not None and legacy(connection)


def own_cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """A cursor for statements of ours, which nobody follows."""
    return sqlite3.Cursor(connection)


def begun(connection: sqlite3.Connection, sql: str = "BEGIN") -> sqlite3.Cursor | None:
    """Begin a transaction: the cursor to end it with, None where it cannot be. Raises
    `sqlite3.OperationalError` where it takes a lock and the database is busy."""
    try:
        return own_cursor(connection).execute(sql)
    except sqlite3.OperationalError:
        raise
    except sqlite3.Error:  # an authorizer forbids it, say, or the thread is the wrong one
        return None
