"""Transactions that write themselves into the outbox, directly before their COMMIT."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from afterquery.outbox import _wake
from afterquery.outbox._gathered import Gathered
from afterquery.outbox._table import DROPPED, MARK, install, seal, write
from afterquery.outbox._values import Statement, encode
from afterquery.sqlite3._gathering import Gathering
from afterquery.sqlite3._modes import begun, own_cursor, real_total_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from afterquery import Replicator, Transaction
    from afterquery._failures import Losing
    from afterquery._order import Ticket
    from afterquery.sqlite3._statement import Control
    from afterquery.sqlite3._statement import Statement as Found


T = TypeVar("T")


class OutboxGathering(Gathering):
    """Gathers while a transaction is open, and writes its row before it is committed."""

    _sealed = False

    def __init__(self, replicator: Replicator) -> None:
        super().__init__(replicator)
        self._written: list[object] = []
        """Not empty as soon as the row of a statement that was committed by itself is there."""

    def prepare(self, connection: sqlite3.Connection) -> None:
        self._uncounted(connection, partial(_install, connection))

    def begin(self, connection: sqlite3.Connection, found: Found) -> sqlite3.Cursor | None:
        # What IF NOT EXISTS finds done takes no write lock, and whoever reads cannot wait for one.
        return begun(connection, "BEGIN IMMEDIATE" if found.ddl else "BEGIN")

    def seal(self, connection: sqlite3.Connection, control: Control | None) -> None:
        if self._statements() and not (control is not None and self._is_inner(control)):
            self._sealed = True
            try:
                self._write(connection)
            except sqlite3.OperationalError as error:
                if "SQL statements in progress" not in str(error):
                    raise
                text = "cannot commit transaction - SQL statements in progress"
                raise sqlite3.OperationalError(text) from None

    def unseal(self, connection: sqlite3.Connection) -> None:
        if not self._sealed:
            return
        self._sealed = False
        try:
            own_cursor(connection).execute(f"ROLLBACK TO {MARK}")
            own_cursor(connection).execute(f"RELEASE {MARK}")
        except sqlite3.Error:  # not set, or gone with its transaction
            pass

    def ticket(self, ran: Sequence[object]) -> Ticket | None:
        """None: the database keeps the order."""
        del ran
        return None

    def alone(self, connection: sqlite3.Connection) -> None:
        try:
            if not self._written:
                row = encode(self._statements())
                alone = partial(write, own_cursor(connection), row, self._written)
                self._uncounted(connection, alone)
            self._sealed = True
        except sqlite3.Error:
            self._lose_caught("the row of a committed statement could not be written to the outbox")
        self.committed(None)
        self._written = []

    def committed(self, ticket: Ticket | None) -> None:
        del ticket
        if self._statements() and not self._sealed:
            self.unseen("a transaction was committed without its row in the outbox")
        if self._sealed:
            _wake.committed(self.order)
        self._ended()
        self._sealed = False

    def _statements(self) -> list[Statement]:
        transaction = cast("Gathered | None", self._transaction)
        return [] if transaction is None else transaction.statements

    def _is_inner(self, control: Control) -> bool:
        """Whether it releases a savepoint within the transaction, and commits nothing."""
        if control.verb != "RELEASE":
            return False
        names = [name for name, _ in self._savepoints]
        return not self._began_with_savepoint or control.name in names[1:]

    def _write(self, connection: sqlite3.Connection) -> None:
        row = encode(self._statements())
        if self._uncounted(connection, partial(seal, own_cursor(connection), row)):
            self.unseen(DROPPED)

    def _uncounted(self, connection: sqlite3.Connection, run: Callable[[], T]) -> T:
        """Run what changes rows of ours."""
        before = real_total_changes(connection) - self.uncounted
        try:
            return run()
        finally:
            try:
                self.uncounted = real_total_changes(connection) - before
            except BaseException:  # a signal handler's
                self.uncounted = real_total_changes(connection) - before
                raise

    @property
    def _losing(self) -> Losing:
        return self.order.identity

    def _new(self) -> Transaction:
        return cast("Transaction", Gathered())


def _install(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # `autocommit=False` begins one with the connection
        own_cursor(connection).execute("COMMIT")
        install(connection)
        own_cursor(connection).execute("BEGIN")
    else:
        install(connection)
