"""Runs the statements of one connection, and sees what they do to its transaction.

Whether a transaction is open is asked of SQLite, before and after each step; the text of a
statement only says which step it is.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from afterquery._binding import Rows, bound
from afterquery._failures import failures
from afterquery._sql import fold
from afterquery.sqlite3._gathering import Gathering
from afterquery.sqlite3._modes import begins, own_cursor
from afterquery.sqlite3._statement import Control, Statement

if TYPE_CHECKING:
    from afterquery import Replicator

T = TypeVar("T")
Run = Callable[[str, Any], T]
"""Runs a statement with its parameters."""


class Results(Protocol):
    """The cursor of a statement, in what matters here."""

    @property
    def description(self) -> object: ...

    def _end(self) -> None:
        """End its previous statement, as the next one does."""

    def _hold(self) -> None:
        """Keep the rows of its statement, and end it."""


class Follower:
    """Follows one connection, and does not keep it alive."""

    def __init__(self, replicator: Replicator, gathering: Gathering) -> None:
        self.lock = threading.RLock()
        """Held while a write or the end of a transaction runs: threads that share the connection
        share its transactions too."""
        self.gathering = gathering
        self.writing = False
        """Whether a statement that may write is being run."""
        self._replicator = replicator
        self._unfinished: WeakKeyDictionary[Results, object] = WeakKeyDictionary()
        """Cursors that return rows of a write, with their `description` of it."""
        self._running: tuple[str, Rows] | None = None
        """An `executemany` that is under way. The user's generator that gives its rows may use the
        connection meanwhile."""

    def write(
        self,
        connection: sqlite3.Connection,
        found: Statement,
        sql: str,
        parameters: Any,
        run: Run[T],
        cursor: Results | None = None,
    ) -> T:
        """Run one statement that may write."""
        with self.lock:
            self._look(connection)
            given = bound(parameters)
            if cursor is not None:
                cursor._end()
            sql = self._frozen(connection, found, sql, given)
            if found.known and self.alone(connection, found):
                self._end_unfinished()
                own = self.gathering.begin(connection, found)
                if own is not None:
                    return self._commit_alone(connection, own, sql, given, run, cursor)
            try:
                result = self._gather(connection, sql, given, run)
                if cursor is not None:
                    self._note(cursor)
                return result
            finally:
                if self.gathering and not connection.in_transaction:
                    self.gathering.alone(connection)

    def alone(self, connection: sqlite3.Connection, found: Statement) -> bool:
        """Whether a statement would be a transaction of its own."""
        return not connection.in_transaction and not (found.begins and begins(connection))

    def many(
        self,
        connection: sqlite3.Connection,
        sql: str,
        rows: Iterable[Any],
        run: Run[T],
        cursor: Results,
    ) -> T:
        """Run one statement for many rows of one transaction."""
        with self.lock:
            self._look(connection)
            given = Rows(connection, rows)
            outer, self._running = self._running, (sql, given)
            self.writing = True
            try:
                result = run(sql, given)
                self._gather_rows(connection, result)
                self._note(cursor)
                return result
            except BaseException as error:
                if _REFUSES_ROWS:
                    cursor._end()  # it has run, and is counted only now
                if given.seen and given.ran and not _left(connection, sql, given.changes, error):
                    given.seen.pop()
                self._gather_rows(connection)
                self.after_error(connection)
                raise
            finally:
                self.writing = False
                self._running = outer

    def _gather_rows(self, connection: sqlite3.Connection, result: Any = None) -> None:
        """Gather the rows of an `executemany` that have run, before anything else happens."""
        if self._running is None:
            return
        sql, rows = self._running
        whole = not rows.taken
        seen = rows.take()
        if seen:
            self.gathering.add(sql, seen, result if whole else None, many=True)
        if self.gathering and not (connection.in_transaction or rows.inside):
            self.gathering.alone(connection)

    def control(
        self, connection: sqlite3.Connection, control: Control, sql: str, run: Callable[[], T]
    ) -> T:
        """Run a statement that moves the transaction."""
        with self.lock:
            before = connection.in_transaction
            if control.verb in {"COMMIT", "RELEASE"}:
                result = self.committing(connection, run, control=control)
            elif control.verb == "ROLLBACK":
                result = self.rolling_back(connection, run)
            else:
                self._look(connection)
                result = run()
            if control.name and connection.in_transaction:
                self.gathering.move(control, began=not before)
            self.gathering.count(sql)
            return result

    def committing(
        self,
        connection: sqlite3.Connection,
        run: Callable[[], T],
        *,
        reopens: bool = False,
        control: Control | None = None,
    ) -> T:
        """Run what may commit; `reopens`: it then begins the next transaction at once."""
        with self.lock:
            self._look(connection)
            if not self.gathering:
                return run()
            ticket = self.gathering.ticket()
            try:
                self.gathering.seal(connection, control)
                result = run()
            except BaseException as error:
                if not isinstance(error, sqlite3.Error) and not connection.in_transaction:
                    # A signal handler raised it, which Python runs when the COMMIT is over.
                    self.gathering.committed(ticket)
                    self._unfinished.clear()
                    raise
                self.gathering.unseal(connection)
                self.gathering.give_back(ticket)
                self.after_error(connection)
                raise
            if reopens or not connection.in_transaction:
                self.gathering.committed(ticket)
                self._unfinished.clear()
            else:
                self.gathering.unseal(connection)
                self.gathering.give_back(ticket)
            return result

    def rolling_back(
        self, connection: sqlite3.Connection, run: Callable[[], T], *, reopens: bool = False
    ) -> T:
        """Run what may roll the whole transaction back."""
        with self.lock:
            self._gather_rows(connection)
            try:
                result = run()
            except BaseException:
                self.after_error(connection)
                raise
            if reopens or not connection.in_transaction:
                self.gathering.drop()
            return result

    def _note(self, cursor: Results) -> None:
        """Note a cursor whose statement returns rows, and ends with the last of them."""
        if cursor.description is not None:
            self._unfinished[cursor] = cursor.description

    def _end_unfinished(self) -> None:
        """End statements whose transaction was rolled back before their last row was fetched:
        while one is open, SQLite commits nothing."""
        for cursor, description in list(self._unfinished.items()):
            if cursor.description is description:
                cursor._end()
        self._unfinished.clear()

    def after_error(self, connection: sqlite3.Connection) -> None:
        """It may have ended the transaction."""
        if self.gathering and not connection.in_transaction:
            with self.lock:
                # Another thread may have begun the next one meanwhile.
                if not connection.in_transaction:
                    self.gathering.drop()

    def _look(self, connection: sqlite3.Connection) -> None:
        """A transaction that ended unseen, by `sqlite3.Connection.commit(connection)` say: nothing
        tells how, and what was not committed must not be sent."""
        self._gather_rows(connection)
        if self.gathering and not connection.in_transaction:
            failures.report("a transaction ended unseen, and is not replicated")
            self.gathering.drop()

    def _frozen(
        self, connection: sqlite3.Connection, found: Statement, sql: str, parameters: Any
    ) -> str:
        """The text that means the same on a replica."""
        if found.deterministic:
            return sql
        try:
            numbers = _numbers(connection) if found.connection else {}
            return self._replicator.before_query(sql, parameters, **numbers)[0]
        except Exception:
            failures.report("a statement could not be frozen")
            return sql

    def _gather(self, connection: sqlite3.Connection, sql: str, given: Any, run: Run[T]) -> T:
        """Run a statement and gather it."""
        changes = connection.total_changes
        self.writing = True
        try:
            result = run(sql, given)
        except BaseException as error:
            self.after_error(connection)
            if _left(connection, sql, changes, error):
                # ON CONFLICT FAIL keeps what it did before the error. So does a replica.
                self.gathering.add(sql, given, None)
            raise
        finally:
            self.writing = False
        self.gathering.add(sql, given, result)
        return result

    def _commit_alone(
        self,
        connection: sqlite3.Connection,
        own: sqlite3.Cursor,
        sql: str,
        given: Any,
        run: Run[T],
        cursor: Results | None,
    ) -> T:
        """Run a transaction of one statement between a BEGIN and a COMMIT of ours: in between,
        the write lock is held."""

        def commit() -> None:
            self.committing(connection, lambda: own.execute("COMMIT"))

        def roll_back() -> None:
            self.rolling_back(connection, lambda: own.execute("ROLLBACK"))

        try:
            result = self._gather(connection, sql, given, run)
            if cursor is not None:
                cursor._hold()
        except BaseException:
            if self.gathering:
                # What a statement did before its error is committed, as SQLite does by itself.
                _end(connection, commit)
            _end(connection, roll_back)
            raise
        try:
            commit()
        except BaseException:
            _end(connection, roll_back)
            raise
        return result


def _end(connection: sqlite3.Connection, end: Callable[[], object]) -> None:
    """End a transaction of ours after an error, whose exception the user gets."""
    try:
        if connection.in_transaction:
            end()
    except sqlite3.Error:
        failures.report("a failed statement could not be ended")


_REFUSES_ROWS = sys.version_info < (3, 11)
"""Before Python 3.11, an `executemany` that returns rows fails when the first one has run."""
_MISUSE = 21
"""SQLITE_MISUSE: since Python 3.12 its second row is not run, as the first one has not ended."""

_LEFT = """SELECT changes() OR EXISTS
(SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%FAIL%')"""


def _left(connection: sqlite3.Connection, sql: str, before: int, error: BaseException) -> bool:
    """Whether a statement that failed may have changed rows that stay; `before` is `total_changes`
    before it, which also counts what triggers and cascades did until SQLite undid the statement."""
    if connection.total_changes == before or getattr(error, "sqlite_errorcode", 0) == _MISUSE:
        return False
    if not isinstance(error, sqlite3.Error) or "fail" in fold(sql):
        return True
    try:
        return bool(own_cursor(connection).execute(_LEFT).fetchone()[0])
    except sqlite3.Error:
        failures.report("what a failed statement left could not be asked")
        return True


def _numbers(connection: sqlite3.Connection) -> dict[str, int]:
    """What the statement would get from the functions of these names."""
    names = ("last_insert_rowid", "changes", "total_changes")
    row = own_cursor(connection).execute(f"SELECT {', '.join(f'{name}()' for name in names)}")
    return dict(zip(names, row.fetchone(), strict=True))
