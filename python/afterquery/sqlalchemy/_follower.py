"""Follows one DBAPI connection: what it commits is submitted, all else is dropped.

SQLAlchemy's idea of a transaction is not always the database's: sqlite3 begins one late, DDL may
commit by itself, releasing the outermost savepoint may be a COMMIT, and a failed statement may
roll everything back. So what decides here is whether SQLite has a transaction open, before and
after each statement.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from afterquery._core import without_values
from afterquery._failures import interrupted
from afterquery._order import order_for, order_of
from afterquery.sqlalchemy._text import savepoint

if TYPE_CHECKING:
    from afterquery import Replicator, Transaction
    from afterquery._order import CommitOrder, Ticket
    from afterquery.sqlalchemy._driver import Driver
    from afterquery.sqlalchemy._guard import Guard
    from afterquery.sqlalchemy._statement import Statement

Last: TypeAlias = "ContextVar[Transaction]"
"""The transaction that this thread or task committed last."""

_MAY_COMMIT = {"COMMIT", "END", "RELEASE"}
UNSEEN = (
    "statements that were not seen come with a COMMIT: the replicas do not get them;"
    " attach() before other listeners of do_execute"
)
_HOLD = {"PRAGMA", "EXPLAIN"}
"""As long as they have rows to give, SQLite commits nothing."""


class Follower:
    """The open transaction of one connection, as far as it is known."""

    def __init__(
        self, driver: Driver, replicator: Replicator, guard: Guard, last: Last, memory: Hashable
    ) -> None:
        self.driver = driver
        self._replicator = replicator
        self._guard = guard
        self._last = last
        self._order = _order(driver.file(), memory)
        self._transaction: Transaction | None = None
        self._savepoints: list[tuple[str, int]] = []
        self._changes = driver.total_changes
        """Rows changed by what was seen..."""
        self._counts = True
        """...if that can be known."""

    def execute(self, run: Callable[[], None], statement: Statement) -> None:
        """Run a statement through `run` and keep what it wrote until it is committed."""
        alone = False
        with self._guard:
            self._notice()
            alone = self.driver.commits_alone(statement)
            if statement.rows is not None:
                statement.rows.counter = self.driver.counter
        if alone:
            self._execute_alone(run, statement)
        else:
            self._execute_within(run, statement)

    def commit(self, run: Callable[[], None]) -> None:
        """Commit through `run`, and submit the transaction if that succeeds."""
        ticket, marked, ran = None, False, False
        try:
            with self._guard:
                self._notice()
                self._tell_unseen()
                ticket = self._take()
            if ticket is not None:
                with self._guard:
                    marked = self.driver.mark()
            ran = True
            if ticket is not None:
                ticket.place.runs = True
            run()
            with self._guard:
                self._end(ticket, committed=self.driver.ended)
        except BaseException as error:
            with self._guard:
                self._commit_failed(ticket, error, ran=ran, marked=marked)
            raise
        finally:
            if ticket is not None:
                ticket.place.runs = False

    def rollback(self, run: Callable[[], None]) -> None:
        """Roll back through `run`, and drop what was written."""
        with self._guard:
            self._notice()
        try:
            run()
        finally:
            with self._guard:
                if self.driver.ended:
                    self.drop()
                    self._counts = True
                    self._see()

    def drop(self) -> None:
        """Forget what was written since the transaction began: it is not in the database."""
        transaction, self._transaction = self._transaction, None
        self._savepoints.clear()
        if transaction is not None:
            transaction.rollback()

    def _execute_within(self, run: Callable[[], None], statement: Statement) -> None:
        ticket, changes, at, savepoints = None, None, 0, list(self._savepoints)
        ran: list[None] = []
        with self._guard:
            changes, at = self.driver.total_changes, self._gathered()
        try:
            with self._guard:
                ticket = self._take() if statement.verb in _MAY_COMMIT else None
            if ticket is not None:
                ticket.place.runs = True
            ran.append(run())  # type: ignore[func-returns-value]
            if statement.verb in _HOLD:
                statement.buffer()
            self._ran(statement, ticket, at, savepoints)
        except BaseException as error:
            if self._has_run(error, ran, changes, ticket):
                self._ran(statement, ticket, at, savepoints)
                raise
            with self._guard:
                self._failed(statement, error, changes)
                self._see()
            with self._guard:
                self._end(ticket, committed=False)
            raise
        finally:
            if ticket is not None:
                ticket.place.runs = False

    def _ran(
        self,
        statement: Statement,
        ticket: Ticket | None,
        at: int,
        savepoints: list[tuple[str, int]],
    ) -> None:
        """A statement is over. Harmless when repeated."""
        with self._guard:
            if self._gathered() <= at:
                self._record(statement)
        with self._guard:
            self._savepoints = list(savepoints)
            self._follow(statement)
            # What RETURNING gives is counted when the last row is fetched.
            self._counts = self._counts and not statement.cursor.description
            self._see()
        with self._guard:
            self._end(ticket, committed=not self.driver.in_transaction)

    def _gathered(self) -> int:
        """Grows with each statement."""
        return 0 if self._transaction is None else self._transaction.savepoint()

    def _has_run(
        self, error: BaseException, ran: list[None], changes: object, ticket: Ticket | None
    ) -> bool:
        """Whether a signal handler's exception came when the statement was over. SQLAlchemy closes
        the connection after one that is no `Exception`."""
        if not isinstance(error, Exception) or self.driver.raised(error):
            return False
        if not interrupted(error):
            return False
        committed = ticket is not None and not self.driver.in_transaction
        return bool(ran) or committed or self.driver.total_changes != changes

    def _execute_alone(self, run: Callable[[], None], statement: Statement) -> None:
        """Run what would commit by itself inside a transaction of its own.

        Nobody could say when exactly it was committed otherwise: the moment between its execution
        and a ticket belongs to whoever comes first.
        """
        changes, at = self.driver.total_changes, self._gathered()
        ran: list[None] = []
        try:
            self.driver.run(self._begin(statement))
            ran.append(run())  # type: ignore[func-returns-value]
            statement.buffer()
            with self._guard:
                self._record(statement)
                self._see()
        except BaseException as error:
            self._see()
            if self._has_run(error, ran, changes, None):
                if self._gathered() <= at:
                    self._record(statement)
                self._commit_alone()
                raise
            with self._guard:
                self._failed(statement, error, changes)
                self._see()
            if interrupted(error) and self.driver.in_transaction:
                self.rollback(lambda: self.driver.run("ROLLBACK"))
            elif isinstance(error, Exception):
                self._commit_alone()  # a failed `executemany` leaves the rows before it
            raise
        self._commit_alone()

    def _commit_alone(self) -> None:
        if not self.driver.in_transaction:
            return
        try:
            self.commit(lambda: self.driver.run("COMMIT"))
        except Exception:
            self.rollback(lambda: self.driver.run("ROLLBACK"))
            raise

    def _begin(self, statement: Statement) -> str:
        """How a transaction of this statement alone begins."""
        del statement
        return "BEGIN"

    def _new(self) -> Transaction:
        return self._replicator.transaction()

    def _record(self, statement: Statement) -> None:
        self._transaction = self._transaction or self._new()
        self._transaction.after_query(
            statement.sql, statement.params, statement.rowcount, many=statement.many
        )

    def _failed(self, statement: Statement, error: BaseException, changes: int | None) -> None:
        """What a failed statement has done all the same."""
        if not isinstance(error, Exception):
            self.drop()  # interrupted: SQLAlchemy closes the connection
        elif not self.driver.in_transaction:
            self.drop()  # rolled back by SQLite, as after ON CONFLICT ROLLBACK
        else:
            if done := statement.done():
                self._transaction = self._transaction or self._new()
                self._transaction.after_query(statement.sql, done, many=True)
            if statement.rows is not None and statement.rows.changes is not None:
                changes = statement.rows.changes
            unknown = changes is None and statement.many and not done
            if self.driver.total_changes != changes or unknown:
                shown = without_values(statement.sql)
                self._guard.missed("a statement that failed left changes: %s", shown)

    def _follow(self, statement: Statement) -> None:
        """What a statement that succeeded means for the transaction."""
        if statement.verb == "ROLLBACK":
            name = savepoint(statement.sql)
            if name is None:
                self.drop()
            else:
                self._roll_back_to(name)
        elif statement.verb == "SAVEPOINT":
            mark = self._transaction.savepoint() if self._transaction else 0
            self._savepoints.append((savepoint(statement.sql) or "", mark))
        elif statement.verb == "RELEASE":
            del self._savepoints[self._place(savepoint(statement.sql)) :]

    def _roll_back_to(self, name: str) -> None:
        place = self._place(name)
        del self._savepoints[place + 1 :]
        if self._transaction is not None:
            self._transaction.rollback_to(self._savepoints[place][1])

    def _place(self, name: str | None) -> int:
        """Where the innermost savepoint of that name stands."""
        places = [place for place, (known, _) in enumerate(self._savepoints) if known == name]
        if not places:
            raise LookupError(f"savepoint {name!r} was not set through SQLAlchemy")
        return places[-1]

    def _take(self) -> Ticket | None:
        """A ticket, if there is something to hand over."""
        return self._order.take() if self._transaction and len(self._transaction) else None

    def _end(self, ticket: Ticket | None, *, committed: bool) -> None:
        """Hand the transaction over if it was committed; give the ticket back if not."""
        transaction = self._transaction
        if not committed or transaction is None or not len(transaction):
            if ticket is not None:
                self._order.failed(ticket)
        else:
            self._last.set(transaction)
            ticket = self._order.take() if ticket is None else ticket
            self._order.committed(ticket, self._replicator, transaction)
        if committed:
            # Last: what a signal handler's exception parts is done again.
            self._savepoints = []
            self._transaction = None

    def _commit_failed(
        self, ticket: Ticket | None, error: BaseException, *, ran: bool, marked: bool
    ) -> None:
        """A failed COMMIT leaves the transaction open, or SQLite has rolled it back. One that was
        interrupted may have succeeded."""
        committed = False
        try:
            if not self.driver.raised(error):
                self.driver.wait()
                committed = ran and self.driver.ended
            if marked and self.driver.is_marked():
                committed = False
        finally:
            self._end(ticket, committed=committed)
        if not committed and not self.driver.in_transaction:
            self.drop()

    def _see(self) -> None:
        """All changes until now are known."""
        self._changes = self.driver.total_changes

    def _tell_unseen(self) -> None:
        """A listener of the application's that runs statements by itself, before ours, say."""
        if self._counts and self.driver.total_changes != self._changes:
            self._guard.missed(UNSEEN)
        self._counts = True
        self._see()

    def _notice(self) -> None:
        """Notice a transaction that was ended on the driver's connection directly."""
        if self._transaction is not None and not self.driver.in_transaction:
            count = len(self._transaction)
            self.drop()
            if count:
                self._guard.missed(
                    "a transaction of %d statements was ended on the driver's connection: "
                    "they are not replicated",
                    count,
                )


def _order(path: str, memory: Hashable) -> CommitOrder:
    """The order of a file, or of what one engine keeps in memory."""
    return order_of(path) if path else order_for(memory)
