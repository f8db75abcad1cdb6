"""Runs the statements of one connection, and sees what they do to its transaction.

Whether a transaction is open is asked of SQLite, before and after each step; the text of a
statement only says which step it is.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import ref

from afterquery._binding import Rows, bound
from afterquery._failures import failures
from afterquery.sqlite3._asked import counters, left_changes
from afterquery.sqlite3._gathering import Gathering
from afterquery.sqlite3._many import Many, Unlocked
from afterquery.sqlite3._modes import begins, own_cursor
from afterquery.sqlite3._statement import Control, Statement

if TYPE_CHECKING:
    from afterquery import Replicator
    from afterquery._mixed import Verdict
    from afterquery._order import Ticket
    from afterquery.sqlite3._gathering import Savepoints
    from afterquery.sqlite3._mixed import Following

T = TypeVar("T")
Run = Callable[[str, Any], T]
"""Runs a statement with its parameters. It is implemented in C: `starmap` calls it, and `extend`
notes its result, in one step that no signal handler can part."""
_ONCE: tuple[tuple[()], ...] = ((),)
"""For `starmap`: call it once, without arguments."""


class Late:
    """A statement without parameters of which it depends on the transaction what runs it."""

    def __init__(self, choose: Callable[[], Callable[[str], Any]]) -> None:
        self.choose = choose


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
        self.mixed: Following | None = None
        """Where replication is mixed: what its statements become."""
        self.writing = False
        """Whether whoever holds the lock is running a statement that may write."""
        self._replicator = replicator
        self._unfinished: list[tuple[ref[Results], object]] = []
        """Cursors that return rows of a write, with their `description` of it. No callbacks: an
        exception of a signal handler's would be swallowed there."""
        self._open: list[tuple[ref[Results], object]] = []
        """The same for what is neither a write nor read-only."""
        self._running: list[Many] = []
        """Each `executemany` that is under way. The user's generator that gives its rows may use
        the connection meanwhile, and so may other threads."""

    def write(
        self,
        connection: sqlite3.Connection,
        found: Statement,
        sql: str,
        parameters: Any,
        run: Run[T] | Late,
        cursor: Results | None = None,
    ) -> T:
        """Run one statement that may write."""
        with self.lock:
            self._look(connection)
            given = bound(parameters)
            if cursor is not None:
                cursor._end()
            if self.mixed is None:
                sql = self._frozen(connection, found, sql, given)
            if found.known and self.alone(connection, found):
                return self._alone(connection, found, sql, given, run, cursor)
            return self._gather_known(connection, sql, given, run, cursor)

    def _gather_known(
        self,
        connection: sqlite3.Connection,
        sql: str,
        given: Any,
        run: Run[T] | Late,
        cursor: Results | None,
    ) -> T:
        try:
            result = self._gather(connection, sql, given, run)
            if cursor is not None and cursor.description is not None:
                self.returning(cursor)
            return result
        finally:
            try:
                self._committed_alone(connection)
            except BaseException:  # a signal handler's
                self._committed_alone(connection)
                raise

    def _committed_alone(self, connection: sqlite3.Connection) -> None:
        if not connection.in_transaction:
            self._flush()
        if self.gathering and not connection.in_transaction:
            self.gathering.alone(connection)

    def returning(self, cursor: Results) -> None:
        """A statement that is not read-only has rows to fetch."""
        alive = [(known, of) for known, of in self._unfinished if known() is not None]
        self._unfinished = [*alive, (ref(cursor), cursor.description)]

    def holding(self, cursor: Results) -> None:
        """A PRAGMA, say, has rows to fetch: while it is open, SQLite commits nothing of ours."""
        alive = [(known, of) for known, of in self._open if known() is not None]
        self._open = [*alive, (ref(cursor), cursor.description)]

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
            given = Rows(connection, Unlocked(self, iter(rows)))
            many = Many(connection, sql, given)
            if self.mixed is not None:
                many.verdict = self.mixed.before_many(sql)
            outer = self.writing
            ran: list[T] = []
            try:
                self._running = [*(one for one in self._running if not one.over), many]
                self.writing = True
                ran.extend(starmap(run, ((sql, given),)))
                self._gather_many(many, ran)
                if cursor.description is not None:
                    self.returning(cursor)
            except BaseException as error:
                try:
                    self._many_failed(many, ran, error, cursor)
                except BaseException:  # a signal handler's
                    self._many_failed(many, ran, error, cursor)
                    raise
                raise
            finally:
                # Nothing is called here: no signal handler can part it.
                many.over = True
                self.writing = outer
                if self.mixed is not None:
                    self.mixed.show()
            return ran[0]

    def _many_failed(self, many: Many, ran: list[T], error: BaseException, cursor: Results) -> None:
        if _REFUSES_ROWS:
            cursor._end()  # it has run, and is counted only now
        rows = many.rows
        if not ran and rows.seen and rows.ran and not many.asked:
            left = left_changes(many.connection, many.sql, rows.changes, error)
            many.asked = True
            if not left:
                del rows.seen[-1]
        self._gather_many(many, ran)
        if not ran:
            if self.mixed is not None and many.connection.in_transaction:
                self.mixed.failed(many.verdict, (), error)
            self.after_error(many.connection)

    def others_ran(self) -> None:
        """While a generator of the user's gave a row, another thread may have run statements."""
        if len(self._running) > 1:
            self._gather_rows()

    def _gather_rows(self) -> None:
        """Gather the rows of each `executemany` under way that have run, before anything else
        happens."""
        for many in self._running:
            if not many.over:
                self._gather_many(many, [])

    def _gather_many(self, many: Many, ran: Sequence[object]) -> None:
        if not many.taking:
            many.at = self.gathering.mark()
            many.rows.keep_last()
            # No call among these: they are one step.
            many.whole = not many.rows.taken
            many.taking, many.rows.seen, many.rows.taken = many.rows.seen, [], True
        if many.taking and self.gathering.mark() <= many.at:
            if self.mixed is not None:
                self.mixed.ran_many(many.verdict, many.sql, many.taking)
            else:
                result = ran[0] if ran and many.whole else None
                self.gathering.add(many.sql, many.taking, result, many=True)
        many.taking = []
        if self.gathering and not (many.connection.in_transaction or many.rows.inside):
            self.gathering.alone(many.connection)

    def control(
        self, connection: sqlite3.Connection, control: Control, sql: str, run: Callable[[], T]
    ) -> T:
        """Run a statement that moves the transaction."""
        with self.lock:
            before, savepoints = connection.in_transaction, self.gathering.savepoints
            ran: list[T] = []
            try:
                if self.mixed is not None:
                    self.mixed.moving(control)
                if control.verb in {"COMMIT", "RELEASE"}:
                    self.committing(connection, run, control=control, ran=ran)
                elif control.verb == "ROLLBACK":
                    self.rolling_back(connection, run, ran=ran)
                else:
                    self._look(connection)
                    ran.extend(starmap(run, _ONCE))
                self._moved(connection, control, ran, savepoints, began=not before)
            except BaseException:
                try:
                    self._moved(connection, control, ran, savepoints, began=not before)
                except BaseException:  # a signal handler's
                    self._moved(connection, control, ran, savepoints, began=not before)
                    raise
                raise
            self.gathering.count(sql)
            return ran[0]

    def _moved(
        self,
        connection: sqlite3.Connection,
        control: Control,
        ran: Sequence[object],
        savepoints: Savepoints,
        *,
        began: bool,
    ) -> None:
        if ran and control.name and connection.in_transaction:
            self.gathering.move(control, savepoints, began=began)
            if self.mixed is not None and control.verb == "TO":
                self.mixed.rolled_back(to=True)

    def committing(
        self,
        connection: sqlite3.Connection,
        run: Callable[[], T],
        *,
        reopens: bool = False,
        control: Control | None = None,
        ran: list[T] | None = None,
    ) -> T:
        """Run what may commit; `reopens`: it then begins the next transaction at once.

        `run` is implemented in C, so that no signal handler can part it from the note in `ran` that
        it succeeded.
        """
        with self.lock:
            self._look(connection)
            ran = [] if ran is None else ran
            self._flush()
            if not self.gathering:
                ran.extend(starmap(run, _ONCE))
                self._ended(connection, reopens=reopens)
                return ran[0]
            ticket = None
            try:
                ticket = self.gathering.ticket(ran)
                self.gathering.seal(connection, control)
                if ticket is not None:
                    ticket.place.runs = True
                ran.extend(starmap(run, _ONCE))
                self._over(connection, ticket, ran, reopens=reopens)
            except BaseException:
                try:
                    self._over(connection, ticket, ran, reopens=reopens)
                except BaseException:  # a signal handler's
                    self._over(connection, ticket, ran, reopens=reopens)
                    raise
                raise
            finally:
                # Nothing is called here: no signal handler can part it.
                if ticket is not None:
                    ticket.place.runs = False
            return ran[0]

    def _over(
        self,
        connection: sqlite3.Connection,
        ticket: Ticket | None,
        ran: Sequence[object],
        *,
        reopens: bool,
    ) -> None:
        """What may have committed is over. Harmless when repeated."""
        if ran and (reopens or not connection.in_transaction):
            self.gathering.committed(ticket)
            self._ended(connection, reopens=reopens)
            self._unfinished = []
            return
        self.gathering.unseal(connection)
        self.gathering.give_back(ticket)
        if not ran:
            self.after_error(connection)

    def rolling_back(
        self,
        connection: sqlite3.Connection,
        run: Callable[[], T],
        *,
        reopens: bool = False,
        ran: list[T] | None = None,
    ) -> T:
        """Run what may roll the whole transaction back; `run` as for `committing`."""
        with self.lock:
            self._gather_rows()
            ran = [] if ran is None else ran
            try:
                ran.extend(starmap(run, _ONCE))
                self._rolled_back(connection, ran, reopens=reopens)
            except BaseException:
                try:
                    self._rolled_back(connection, ran, reopens=reopens)
                except BaseException:  # a signal handler's
                    self._rolled_back(connection, ran, reopens=reopens)
                    raise
                raise
            return ran[0]

    def _rolled_back(
        self, connection: sqlite3.Connection, ran: Sequence[object], *, reopens: bool
    ) -> None:
        if not connection.in_transaction or (ran and reopens):
            self._drop()

    def _end_unfinished(self) -> None:
        """End statements whose transaction was rolled back before their last row was fetched, and
        keep what a PRAGMA has to give: while one is open, SQLite commits nothing."""
        for known, description in self._unfinished:
            cursor = known()
            if cursor is not None and cursor.description is description:
                cursor._end()
        self._unfinished = []
        for known, description in self._open:
            cursor = known()
            if cursor is not None and cursor.description is description:
                cursor._hold()
        self._open = []

    def after_error(self, connection: sqlite3.Connection) -> None:
        """It may have ended the transaction."""
        if (self._is_open() or self.mixed is not None) and not connection.in_transaction:
            with self.lock:
                # Another thread may have begun the next one meanwhile.
                if not connection.in_transaction:
                    self._drop()

    def _is_open(self) -> bool:
        return bool(self.gathering) or (self.mixed is not None and self.mixed.pending)

    def _drop(self) -> None:
        self.gathering.drop()
        if self.mixed is not None:
            self.mixed.rolled_back()

    def _flush(self) -> None:
        """What is known of rows that changed goes before what comes now."""
        if self.mixed is not None:
            self.mixed.flush()

    def _ended(self, connection: sqlite3.Connection, *, reopens: bool) -> None:
        if self.mixed is not None and (reopens or not connection.in_transaction):
            self.mixed.committed()

    def other(self, connection: sqlite3.Connection, sql: str) -> None:
        """A statement ran that is neither a read nor a write: what names mean may have changed."""
        if self.mixed is not None:
            with self.lock:
                self.mixed.other(sql)
                self._committed_alone(connection)

    def _look(self, connection: sqlite3.Connection) -> None:
        """A transaction that ended unseen, by `sqlite3.Connection.commit(connection)` say: nothing
        tells how, and what was not committed must not be sent."""
        self._gather_rows()
        if self._is_open() and not connection.in_transaction:
            self.gathering.unseen("a transaction ended unseen, and is not replicated")
            self._drop()

    def _frozen(
        self, connection: sqlite3.Connection, found: Statement, sql: str, parameters: Any
    ) -> str:
        """The text that means the same on a replica."""
        if found.deterministic:
            return sql
        try:
            numbers = counters(connection) if found.connection else {}
            return self._replicator.before_query(sql, parameters, **numbers)[0]
        except Exception:
            failures.caught("a statement could not be frozen")
            return sql

    def _gather(
        self, connection: sqlite3.Connection, sql: str, given: Any, run: Run[T] | Late
    ) -> T:
        """Run a statement and gather it."""
        if self.mixed is not None:
            return self._gather_mixed(connection, self.mixed, sql, given, run)
        changes, at = connection.total_changes, self.gathering.mark()
        step, outer = _step(run, sql, given), self.writing
        ran: list[T] = []
        try:
            self.writing = True
            ran.extend(step)
            self.gathering.add(sql, given, ran[0])
        except BaseException as error:
            try:
                self._failed(connection, sql, given, ran, changes, at, error)
            except BaseException:  # a signal handler's
                self._failed(connection, sql, given, ran, changes, at, error)
                raise
            raise
        finally:
            self.writing = outer
        return ran[0]

    def _gather_mixed(
        self,
        connection: sqlite3.Connection,
        mixed: Following,
        sql: str,
        given: Any,
        run: Run[T] | Late,
    ) -> T:
        """The same where replication is mixed."""
        verdict = mixed.before(sql, given)
        at, outer = self.gathering.mark(), self.writing
        ran: list[T] = []
        try:
            self.writing = True
            try:
                ran.extend(_step(run, sql, given))
            except sqlite3.OperationalError as error:
                if not mixed.outdated(error):
                    raise
                verdict = mixed.before(sql, given)
                ran.extend(_step(run, sql, given))
            mixed.ran(verdict, sql, given, ran[0])
        except BaseException as error:
            failed = partial(self._failed_mixed, connection, mixed, verdict, sql, given, ran, at)
            try:
                failed(error)
            except BaseException:  # a signal handler's
                failed(error)
                raise
            raise
        finally:
            self.writing = outer
            mixed.show()
        return ran[0]

    def _failed_mixed(
        self,
        connection: sqlite3.Connection,
        mixed: Following,
        verdict: Verdict | None,
        sql: str,
        given: Any,
        ran: Sequence[object],
        at: int,
        error: BaseException,
    ) -> None:
        if ran:
            if self.gathering.mark() <= at:
                mixed.ran(verdict, sql, given, ran[0])
            return
        if connection.in_transaction:
            mixed.failed(verdict, given, error)
        self.after_error(connection)

    def _failed(
        self,
        connection: sqlite3.Connection,
        sql: str,
        given: Any,
        ran: Sequence[object],
        changes: int,
        at: int,
        error: BaseException,
    ) -> None:
        """A statement failed, or an exception of a signal handler's came before or after it."""
        if ran:
            if self.gathering.mark() <= at:
                self.gathering.add(sql, given, ran[0])
            return
        self.after_error(connection)
        if self.gathering.mark() <= at and left_changes(connection, sql, changes, error):
            # ON CONFLICT FAIL keeps what it did before the error. So does a replica.
            self.gathering.add(sql, given, None)

    def _alone(
        self,
        connection: sqlite3.Connection,
        found: Statement,
        sql: str,
        given: Any,
        run: Run[T] | Late,
        cursor: Results | None,
    ) -> T:
        """Run a transaction of one statement between a BEGIN and a COMMIT of ours: in between,
        the write lock is held."""
        self._end_unfinished()
        if self.mixed is not None:
            self.mixed.begins()
        try:
            own = self.gathering.begin(connection, found)
            if own is not None:
                result = self._gather(connection, sql, given, run)
                if cursor is not None:
                    cursor._hold()
                self._commit_own(connection, own)
                return result
        except BaseException:
            try:
                self._end_own(connection, cursor)
            except BaseException:  # a signal handler's
                self._end_own(connection, cursor)
                raise
            raise
        return self._gather_known(connection, sql, given, run, cursor)

    def _commit_own(self, connection: sqlite3.Connection, own: sqlite3.Cursor) -> None:
        try:
            self.committing(connection, partial(own.execute, "COMMIT"))
        except sqlite3.Error:
            if connection.in_transaction:
                self.rolling_back(connection, partial(own.execute, "ROLLBACK"))
            raise

    def _end_own(self, connection: sqlite3.Connection, cursor: Results | None) -> None:
        """End a transaction of ours after an error, whose exception the user gets. What a statement
        did before its error is committed, as SQLite does by itself."""
        try:
            if connection.in_transaction and cursor is not None:
                cursor._end()
            self._flush()
            if connection.in_transaction and self.gathering:
                self._commit_own(connection, own_cursor(connection))
            if connection.in_transaction:
                self.rolling_back(connection, partial(own_cursor(connection).execute, "ROLLBACK"))
        except sqlite3.Error:
            failures.caught("a failed statement could not be ended")


def _step(run: Run[T] | Late, sql: str, given: Any) -> Iterable[T]:
    """Runs a statement when it is iterated over, in C."""
    if isinstance(run, Late):
        return starmap(run.choose(), ((sql,),))
    return starmap(run, ((sql, given),))


_REFUSES_ROWS = sys.version_info < (3, 11)
"""Before Python 3.11, an `executemany` that returns rows fails when the first one has run."""
