"""The statements of the open transaction, and what becomes of them. Raises nothing of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from afterquery._failures import failures
from afterquery._order import CommitOrder
from afterquery.sqlite3._modes import begun

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from afterquery import Replication, Replicator, Transaction
    from afterquery._failures import Losing
    from afterquery._order import Ticket
    from afterquery.sqlite3._statement import Control, Statement


Savepoints: TypeAlias = "tuple[tuple[str, int], ...]"
"""Their names, and what was gathered before each."""


class Gathering:
    """Gathers while a transaction is open, and hands over what was committed."""

    def __init__(self, replicator: Replicator) -> None:
        self.order = CommitOrder()
        """That of the database, as soon as it is open."""
        self._replicator = replicator
        self._transaction: Transaction | None = None
        self._savepoints: Savepoints = ()
        self._began_with_savepoint = False
        self._last: Ticket | None = None
        self._own_ticket: Ticket | None = None
        """Of a statement that was a transaction of its own, until it is submitted."""
        self.uncounted = 0
        """How many rows ours have changed on the connection."""

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

    @property
    def savepoints(self) -> Savepoints:
        """Those that are open."""
        return self._savepoints

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
            failures.caught("a statement could not be counted")

    def mark(self) -> int:
        """Grows with each statement that is gathered."""
        return 0 if self._transaction is None else self._transaction.savepoint()

    def add(self, sql: str, parameters: Any, result: Any, *, many: bool = False) -> None:
        """A statement ran; `result` is its cursor, if it has one."""
        try:
            if getattr(result, "description", None) is not None:
                result = None  # it returns rows, and knows its count after the last one
            self._open().after_query(sql, parameters, result, many=many)
        except Exception:
            self._lose_caught("a statement could not be replicated")

    def move(self, control: Control, savepoints: Savepoints, *, began: bool = False) -> None:
        """SAVEPOINT, ROLLBACK TO or RELEASE ran, and the transaction is open still. `savepoints`
        are those before; `began`: it began with this SAVEPOINT, and ends with its RELEASE. Harmless
        when repeated."""
        self._began_with_savepoint = began or self._began_with_savepoint
        try:
            self._savepoints = self._moved(control, savepoints)
        except Exception:
            self._lose_caught("a savepoint could not be followed")

    def _moved(self, control: Control, savepoints: Savepoints) -> Savepoints:
        """The savepoints afterwards; made of those before it, as it may be done twice."""
        if control.verb == "SAVEPOINT":
            return (*savepoints, (control.name, self._open().savepoint()))
        names = [name for name, _ in savepoints]
        at = len(names) - 1 - names[::-1].index(control.name)
        if control.verb == "RELEASE":
            return savepoints[:at]
        self._open().rollback_to(savepoints[at][1])
        return savepoints[: at + 1]

    def drop(self) -> None:
        """The transaction came to nothing."""
        transaction = self._transaction
        try:
            if transaction is not None and len(transaction):
                transaction.rollback()
        except Exception:
            failures.caught("a transaction could not be dropped")
        self._ended()

    def ticket(self, ran: Sequence[object]) -> Ticket | None:
        """A place in the order of commits, for a COMMIT that has succeeded as soon as `ran` is not
        empty; None where there is nothing to replicate."""
        transaction, ticket = self._transaction, None
        try:
            if transaction is None or not len(transaction):
                return None
            ticket = self.order.take()
            ticket.expect(ran, self._replicator, transaction)
            return ticket
        except BaseException as error:
            self.give_back(ticket)
            if not isinstance(error, Exception):
                raise
            self._lose_caught("a commit has no place in the order, and is not replicated")
            return None

    def alone(self, connection: sqlite3.Connection) -> None:
        """A statement was a transaction of its own after all, and is committed: nothing held the
        lock. Harmless when repeated."""
        del connection
        if self._own_ticket is None:
            self._own_ticket = self.ticket((True,))
        self.committed(self._own_ticket)
        self._own_ticket = None

    def give_back(self, ticket: Ticket | None) -> None:
        """Nothing was committed. A ticket that is only forgotten may live on in a traceback, and
        hold up all behind it."""
        try:
            if ticket is not None:
                self.order.failed(ticket)
        except Exception:
            failures.caught("a commit that failed could not be given back")

    def committed(self, ticket: Ticket | None) -> None:
        """The transaction was committed. Harmless when repeated."""
        transaction = self._transaction
        try:
            if ticket is not None and transaction is not None:
                self._last = ticket
                self.order.committed(ticket, self._replicator, transaction)
        except Exception:
            self._lose_caught("a committed transaction could not be submitted")
        self._ended()

    def unseen(self, what: str) -> None:
        """Something may be committed that the replicas do not get."""
        failures.report(what, self._losing)

    def _lose_caught(self, what: str) -> None:
        failures.caught(what, self._losing)

    @property
    def _losing(self) -> Losing:
        return self._replicator

    def _open(self) -> Transaction:
        if self._transaction is None:
            self._transaction = self._new()
        return self._transaction

    def _new(self) -> Transaction:
        return self._replicator.transaction()

    def _ended(self) -> None:
        self._savepoints = ()
        self._began_with_savepoint = False
        self._transaction = None
