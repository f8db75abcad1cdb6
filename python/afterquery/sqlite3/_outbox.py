"""Transactions that write themselves into the outbox, directly before their COMMIT."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from afterquery import classify
from afterquery._failures import failures
from afterquery.outbox._table import WRITE, install
from afterquery.outbox._values import Statement, encode, kept
from afterquery.sqlite3._gathering import Gathering
from afterquery.sqlite3._modes import own_cursor

if TYPE_CHECKING:
    from afterquery import Transaction
    from afterquery._order import Ticket
    from afterquery.sqlite3._statement import Control

_MARK = "afterquery_outbox_seal"


@dataclass
class Gathered:
    """In the place of an `afterquery.Transaction`: statements for the row."""

    statements: list[Statement] = field(default_factory=list)

    def after_query(
        self, sql: str, params: Any = None, result: Any = None, *, many: bool = False
    ) -> None:
        changes = getattr(result, "rowcount", -1)
        if not _elsewhere(sql):
            known = changes if changes >= 0 else None
            self.statements.append(kept(sql, params, known, many=many))

    def savepoint(self) -> int:
        return len(self.statements)

    def rollback_to(self, savepoint: int) -> None:
        del self.statements[savepoint:]

    def rollback(self) -> None:
        self.statements.clear()

    def __len__(self) -> int:
        return len(self.statements)

    def __bool__(self) -> bool:
        return True


def _elsewhere(sql: str) -> bool:
    """It concerns the temporary schema or an attached database, which replicas do not have."""
    return any(one.schema not in {None, "main"} for one in classify(sql).statements)


class OutboxGathering(Gathering):
    """Gathers while a transaction is open, and writes its row before it is committed."""

    _sealed = False

    def prepare(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:  # `autocommit=False` begins one with the connection
            own_cursor(connection).execute("COMMIT")
            install(connection)
            own_cursor(connection).execute("BEGIN")
        else:
            install(connection)

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
            own_cursor(connection).execute(f"ROLLBACK TO {_MARK}")
            own_cursor(connection).execute(f"RELEASE {_MARK}")
        except sqlite3.Error:  # not set, or gone with its transaction
            pass

    def ticket(self) -> Ticket | None:
        """None: the database keeps the order."""
        return None

    def alone(self, connection: sqlite3.Connection) -> None:
        try:
            # The semicolon: before an INSERT, sqlite3 may begin a transaction.
            own_cursor(connection).execute(f";{WRITE}", (encode(self._statements()),))
            self._sealed = True
        except sqlite3.Error:
            failures.report("the row of a committed statement could not be written to the outbox")
        self.committed(None)

    def committed(self, ticket: Ticket | None) -> None:
        del ticket
        sealed, self._sealed = self._sealed, False
        if self._statements() and not sealed:
            failures.report("a transaction was committed without its row in the outbox")
        self._ended()

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
        own = own_cursor(connection)
        own.execute(f"SAVEPOINT {_MARK}")
        own.execute(WRITE, (encode(self._statements()),))

    def _new(self) -> Transaction:
        return cast("Transaction", Gathered())
