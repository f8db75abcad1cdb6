"""The statements of the open transaction, and what becomes of them. Raises nothing of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from afterquery._failures import failures
from afterquery._order import CommitOrder
from afterquery.sqlite3._modes import begun

if TYPE_CHECKING:
    import sqlite3

    from afterquery import Replication, Replicator, Transaction
    from afterquery._order import Ticket
    from afterquery.sqlite3._statement import Control, Statement


class Gathering:
    """Gathers while a transaction is open, and hands over what was committed."""

    def __init__(self, replicator: Replicator) -> None:
        self.order = CommitOrder()
        """That of the database, as soon as it is open."""
        self._replicator = replicator
        self._transaction: Transaction | None = None
        self._savepoints: list[tuple[str, int]] = []
        self._began_with_savepoint = False
        self._last: Ticket | None = None

    def prepare(self, connection: sqlite3.Connection) -> None:
        """The database is open."""

    def begin(self, connection: sqlite3.Connection, found: Statement) -> sqlite3.Cursor | None:
        """Begin a transaction of one statement: the cursor to end it with, None where it cannot be.
        An error of SQLite's here is one of the statement."""
        del found
        return begun(connection)

    def seal(self, connection: sqlite3.Connection, control: Control | None) -> None:
        """A COMMIT comes, or a RELEASE, which may be one. An error of SQLite's here is one of the
        COMMIT."""

    def unseal(self, connection: sqlite3.Connection) -> None:
        """Nothing was committed."""

    def __bool__(self) -> bool:
        """Whether anything is open: a statement, or a savepoint to go back to."""
        return self._transaction is not None

    @property
    def replication(self) -> Replication | None:
        """The handle of the last write."""
        return None if self._last is None else self._last.replication

    def count(self, sql: str) -> None:
        """A statement that is not replicated ran."""
        try:
            self._replicator.after_query(sql)
        except Exception:
            failures.report("a statement could not be counted")

    def add(self, sql: str, parameters: Any, result: Any, *, many: bool = False) -> None:
        """A statement ran; `result` is its cursor, if it has one."""
        try:
            if getattr(result, "description", None) is not None:
                result = None  # it returns rows, and knows its count after the last one
            self._open().after_query(sql, parameters, result, many=many)
        except Exception:
            failures.report("a statement could not be replicated")

    def move(self, control: Control, *, began: bool = False) -> None:
        """SAVEPOINT, ROLLBACK TO or RELEASE ran, and the transaction is open still. `began`: it
        began with this SAVEPOINT, and ends with its RELEASE."""
        self._began_with_savepoint = began or self._began_with_savepoint
        try:
            if control.verb == "SAVEPOINT":
                self._savepoints.append((control.name, self._open().savepoint()))
                return
            names = [name for name, _ in self._savepoints]
            at = len(names) - 1 - names[::-1].index(control.name)
            if control.verb == "RELEASE":
                del self._savepoints[at:]
            else:
                self._open().rollback_to(self._savepoints[at][1])
                del self._savepoints[at + 1 :]
        except Exception:
            failures.report("a savepoint could not be followed")

    def drop(self) -> None:
        """The transaction came to nothing."""
        transaction = self._ended()
        try:
            if transaction is not None:
                transaction.rollback()
        except Exception:
            failures.report("a transaction could not be dropped")

    def ticket(self) -> Ticket | None:
        """A place in the order of commits; None where there is nothing to replicate."""
        try:
            return self.order.take() if self._transaction and len(self._transaction) else None
        except Exception:
            failures.report("a commit has no place in the order, and is not replicated")
            return None

    def alone(self, connection: sqlite3.Connection) -> None:
        """A statement was a transaction of its own after all, and is committed: nothing held the
        lock."""
        del connection
        self.committed(self.ticket())

    def give_back(self, ticket: Ticket | None) -> None:
        """Nothing was committed. A ticket that is only forgotten may live on in a traceback, and
        hold up all behind it."""
        try:
            if ticket is not None:
                self.order.failed(ticket)
        except Exception:
            failures.report("a commit that failed could not be given back")

    def committed(self, ticket: Ticket | None) -> None:
        """The transaction was committed."""
        transaction = self._ended()
        try:
            if ticket is not None and transaction is not None:
                self._last = ticket
                self.order.committed(ticket, self._replicator, transaction)
        except Exception:
            failures.report("a committed transaction could not be submitted")

    def _open(self) -> Transaction:
        if self._transaction is None:
            self._transaction = self._new()
        return self._transaction

    def _new(self) -> Transaction:
        return self._replicator.transaction()

    def _ended(self) -> Transaction | None:
        transaction, self._transaction = self._transaction, None
        self._savepoints.clear()
        self._began_with_savepoint = False
        return transaction
