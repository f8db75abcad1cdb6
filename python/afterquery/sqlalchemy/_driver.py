"""What the DBAPI connection does with transactions: the database's own word for it."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from afterquery import classify

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection

    from afterquery.sqlalchemy._statement import Statement

_DML = {"INSERT", "UPDATE", "DELETE", "REPLACE"}
DDL = {"CREATE", "ALTER", "DROP"}
_MARK = "afterquery_commit"
T = TypeVar("T")


class Driver:
    """One connection of sqlite3, aiosqlite or what behaves like them."""

    def __init__(self, connection: PoolProxiedConnection) -> None:
        self.dbapi: Any = connection.dbapi_connection
        """What SQLAlchemy talks to: for aiosqlite, its adapter."""
        driver: Any = connection.driver_connection
        # aiosqlite keeps the sqlite3 connection in a thread of its own; asking it whether a
        # transaction is open is safe from here, and does not wait for that thread.
        self._raw = getattr(driver, "_conn", driver)
        self._is_async = self._raw is not driver
        self._autocommit = self._autocommit_attribute()

    def _autocommit_attribute(self) -> object:
        """Python 3.12's `autocommit`; None where there is none, -1 for the older rules."""
        if sys.version_info < (3, 12):
            return None
        if not self._is_async:
            return getattr(self._raw, "autocommit", None)
        return self.dbapi.run_async(
            lambda driver: driver._execute(getattr, self._raw, "autocommit")
        )

    @property
    def in_transaction(self) -> bool:
        """Whether SQLite has a transaction open on this connection."""
        return bool(self._raw.in_transaction)

    @property
    def ended(self) -> bool:
        """Whether a COMMIT or ROLLBACK took effect; `autocommit=False` begins anew at once."""
        return self._autocommit is False or not self._raw.in_transaction

    @property
    def total_changes(self) -> int | None:
        """Rows changed since the connection was opened; None where the driver does not tell."""
        count: int | None = getattr(self._raw, "total_changes", None)
        return count

    @property
    def counter(self) -> Callable[[], int | None]:
        """Asks for that number, in C: no signal handler comes between."""
        return partial(getattr, self._raw, "total_changes", None)

    def commits_alone(self, statement: Statement) -> bool:
        """Whether it would be a transaction of its own, committed when it ends.

        https://docs.python.org/3/library/sqlite3.html#transaction-control
        """
        if self._raw.in_transaction:
            return False
        if statement.verb in _DML:
            return not self._begins_before(statement)
        if statement.verb == "WITH":
            return classify(statement.sql).statements[0].kind == "write"
        return statement.verb in DDL

    def _begins_before(self, statement: Statement) -> bool:
        """Whether sqlite3 emits BEGIN before this INSERT, UPDATE, DELETE or REPLACE."""
        if self._autocommit is True or self._raw.isolation_level is None:
            return False
        # Before Python 3.11 it takes a statement behind a comment for something else; these are its
        # own spaces.
        leading = statement.sql[: statement.verb_start]
        return sys.version_info >= (3, 11) or not leading.strip(" \r\n\t")

    def run(self, sql: str, parameters: tuple[object, ...] = ()) -> Any:
        """Run a statement of ours; the first row, if there is one."""
        cursor = self.dbapi.cursor()
        try:
            cursor.execute(sql, parameters)
            return cursor.fetchone() if cursor.description else None
        finally:
            cursor.close()

    def within(self, run: Callable[[Any], T]) -> T:
        """Have statements of ours run with a cursor of the driver's: for aiosqlite in its thread,
        so that it is waited for once."""
        if not self._is_async:
            return run(self._plain_cursor())
        return self.dbapi.run_async(  # type: ignore[no-any-return]
            lambda driver: driver._execute(lambda: run(self._plain_cursor()))
        )

    def _plain_cursor(self) -> Any:
        cursor = self._raw.cursor()
        cursor.row_factory = None  # the application's
        return cursor

    def raised(self, error: BaseException) -> bool:
        """Whether an error is of the driver's, and not of a signal handler or a cancellation, which
        comes when the statement may be over."""
        if isinstance(self._raw, sqlite3.Connection):
            return isinstance(error, sqlite3.Error)
        return isinstance(error, Exception)

    def mark(self) -> bool:
        """Mark the transaction, where SQLite is always in one: whether that was done."""
        if self._autocommit is False:
            self.run(f"SAVEPOINT {_MARK}")
        return self._autocommit is False

    def is_marked(self) -> bool:
        """Whether the transaction is still the one that was marked; it is so no more."""
        try:
            self.run(f"RELEASE {_MARK}")
        except Exception:
            return False
        return True

    def wait(self) -> None:
        """Wait until aiosqlite's thread has done what a cancelled coroutine asked of it."""
        if self._is_async:
            self.run("SELECT 1")

    def file(self) -> str:
        """The path of the database as SQLite sees it; empty for one in memory."""
        # In hexadecimal digits: a path need not be UTF-8.
        row = self.run("SELECT hex(file) FROM pragma_database_list WHERE name = 'main'")
        return os.fsdecode(bytes.fromhex(row[0] or "")) if row else ""
