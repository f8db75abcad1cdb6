"""Transactions that write themselves into the outbox, directly before their COMMIT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from afterquery._failures import interrupted
from afterquery.outbox import _wake
from afterquery.outbox._gathered import Gathered
from afterquery.outbox._table import DROPPED, MARK, seal
from afterquery.outbox._values import Statement as Kept
from afterquery.outbox._values import encode
from afterquery.sqlalchemy._driver import DDL
from afterquery.sqlalchemy._follower import Follower
from afterquery.sqlalchemy._text import savepoint

if TYPE_CHECKING:
    from afterquery import Transaction
    from afterquery._order import Ticket
    from afterquery.sqlalchemy._statement import Statement


class OutboxFollower(Follower):
    """Keeps what a transaction wrote, and writes its row before it is committed."""

    _sealed = False
    _installed = False
    _began_with_savepoint = False

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._guard = self._guard.of(self._order.identity)

    def commit(self, run: Callable[[], None]) -> None:
        """Commit through `run`, with the row; a row that cannot be written is an error of it."""
        with self._guard:
            self._notice()
            self._tell_unseen()
        try:
            self._seal()
            with self._guard:
                self._see()
            super().commit(run)
        except BaseException:
            self._unseal()  # a signal handler's, where it is sealed still
            raise

    def drop(self) -> None:
        """Forget what was written since the transaction began: it is not in the database."""
        super().drop()
        self._sealed = self._began_with_savepoint = False

    def _execute_within(self, run: Callable[[], None], statement: Statement) -> None:
        before = self.driver.in_transaction
        if self._is_commit(statement):
            self._seal()
            with self._guard:
                self._see()
        super()._execute_within(run, statement)
        if statement.verb == "SAVEPOINT" and not before:
            self._began_with_savepoint = self.driver.in_transaction

    def _begin(self, statement: Statement) -> str:
        # What IF NOT EXISTS finds done takes no write lock, and whoever reads cannot wait for one.
        return "BEGIN IMMEDIATE" if statement.verb in DDL else "BEGIN"

    def _is_commit(self, statement: Statement) -> bool:
        if statement.verb != "RELEASE":
            return statement.verb in {"COMMIT", "END"}
        names = [name for name, _ in self._savepoints]
        return self._began_with_savepoint and savepoint(statement.sql) not in names[1:]

    def _seal(self) -> None:
        """Write the row, if there is anything for one."""
        kept = self._kept()
        if not kept or not self.driver.in_transaction:
            return
        self._sealed = True
        try:
            # The tables are made here, too: with autocommit=False there is no moment outside of a
            # transaction.
            made = self.driver.within(partial(seal, text=encode(kept)))
            if made and self._installed:
                self._guard.told(DROPPED)
            self._installed = True
        except BaseException:
            self._unseal()
            with self._guard:
                if not self.driver.in_transaction:
                    self.drop()  # SQLite has rolled it back
            raise

    def _unseal(self) -> None:
        """Nothing was committed: the row is taken back."""
        if self._sealed:
            self._sealed = False
            with self._guard:
                if self.driver.in_transaction:
                    self._release_mark()

    def _release_mark(self) -> None:
        try:
            self.driver.run(f"ROLLBACK TO {MARK}")
            self.driver.run(f"RELEASE {MARK}")
        except Exception as error:  # not set yet
            if interrupted(error):
                raise

    def _take(self) -> Ticket | None:
        """None: the database keeps the order."""
        return None

    def _end(self, ticket: Ticket | None, *, committed: bool) -> None:
        del ticket
        if not committed:
            self._unseal()
            return
        if self._sealed:
            _wake.committed(self._order)
        elif self._kept():
            self._guard.missed("a transaction was committed without its row in the outbox")
        self._savepoints = []
        self._transaction = None
        self._sealed = self._began_with_savepoint = False

    def _kept(self) -> list[Kept]:
        transaction = cast("Gathered | None", self._transaction)
        return [] if transaction is None else transaction.statements

    def _new(self) -> Transaction:
        return cast("Transaction", Gathered())
