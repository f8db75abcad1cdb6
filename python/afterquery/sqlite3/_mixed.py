"""Mixed replication of a connection that is followed: between `Mixed` and the gathering.

An error of ours never reaches a statement: what could not be judged or captured is reported.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from afterquery._failures import failures
from afterquery._mixed import Kind, Mixed, Verdict

if TYPE_CHECKING:
    from afterquery import Replicator
    from afterquery.sqlite3._follower import Follower
    from afterquery.sqlite3._statement import Control

T = TypeVar("T")
_LEAVES = re.compile("datatype mismatch|cannot store")
"""Where SQLite says so, it may leave the rows that came before."""
_OUTDATED = re.compile("no such (column|table|function)|error in trigger")
OURS = "afterquery_note_"
"""What the names of our triggers begin with."""


class Following:
    """What the statements of one connection become."""

    def __init__(
        self, connection: sqlite3.Connection, follower: Follower, replicator: Replicator
    ) -> None:
        self.quiet = 0
        """Not 0 while statements of ours run: the user's callbacks see nothing of them."""
        self._lines: list[str] = []
        """Lines of a trace that were not handed over yet."""
        self._tracer: Callable[[str], object] | None = None
        self._follower = follower
        self._replicator = replicator
        self._mixed = Mixed(
            connection,
            lambda sql, given: follower.gathering.add(sql, given, None),
            lambda what: follower.gathering.unseen(what),
            self.quietly,
            lambda sql, rows: follower.gathering.add(sql, rows, None, many=True),
        )

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """While it is open, the user's callbacks see nothing."""
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    def _safely(self, what: str, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception:
            failures.caught(what, self._replicator)
            return None

    @property
    def pending(self) -> bool:
        """Whether rows are noted that were not gathered yet."""
        return self._mixed.pending

    def before(self, sql: str, given: Any) -> Verdict | None:
        """A statement is about to run; None where nothing is known of it."""

        try:
            verdict = self._mixed.judge(sql, given)
            self._mixed.before(verdict)
            return verdict
        except Exception:
            failures.caught("a statement could not be judged", self._replicator)
            return None

    def before_many(self, sql: str) -> Verdict | None:
        """One is about to run for many rows."""

        def judged() -> Verdict:
            verdict = self._mixed.judge_many(sql)
            self._mixed.before(verdict)
            return verdict

        return self._safely("a statement could not be judged", judged)

    def ran(self, verdict: Verdict | None, sql: str, given: Any, result: Any) -> None:
        """It ran."""
        try:
            if verdict is None:
                self._follower.gathering.add(sql, given, result)
            elif verdict.kind is Kind.STATEMENT and not verdict.lost:
                self._follower.gathering.add(sql, given, result)  # with its row count
                self._mixed.told(verdict)
                self._mixed.check()
            else:
                self._mixed.ran(verdict, sql, given, result)
                if verdict.kind is Kind.OTHERS:
                    self._count(sql)
        except Exception:
            failures.caught("a statement could not be followed", self._replicator)

    def _count(self, sql: str) -> None:
        """Where its text shows, too, that it is not about the main database: else it would be
        replicated."""
        if not self._replicator.explain(sql).replicated:
            self._follower.gathering.count(sql)

    def ran_many(self, verdict: Verdict | None, sql: str, rows: Sequence[Any]) -> None:
        """It ran for these rows."""
        if verdict is None:
            self._follower.gathering.add(sql, rows, None, many=True)
        else:
            self._safely(
                "a statement could not be followed",
                lambda: self._mixed.ran_many(verdict, rows, many_sql=sql),
            )

    def failed(self, verdict: Verdict | None, given: Any, error: BaseException) -> None:
        """It failed with this error."""
        if verdict is not None:
            undone = isinstance(error, sqlite3.IntegrityError) and not _LEAVES.search(str(error))
            left = verdict.keeps or not undone
            self._safely(
                "a failed statement could not be followed",
                lambda: self._mixed.failed(verdict, given, left=left),
            )

    def outdated(self, error: sqlite3.OperationalError) -> bool:
        """Whether a statement failed since a trigger of ours is out of date; tried again, it may
        succeed. Nothing is asked after any other error: it would begin a snapshot."""
        return _OUTDATED.search(str(error)) is not None and bool(
            self._safely("triggers could not be removed", self._mixed.outdated)
        )

    def begins(self) -> None:
        """A transaction is about to begin."""
        self._safely("the schema could not be looked at", self._mixed.begins)

    def moving(self, control: Control) -> None:
        """The transaction is about to be moved."""
        if control.verb in {"BEGIN", "SAVEPOINT"}:
            self.begins()
        if control.verb == "SAVEPOINT":
            self.flush()

    def flush(self) -> None:
        """Gather the rows that are noted."""
        if self._mixed.pending:
            self._safely("changed rows could not be gathered", self._mixed.flush)

    def rolled_back(self, *, to: bool = False) -> None:
        """The transaction, or with `to` a part of it, came to nothing."""
        self._safely("a rollback could not be followed", lambda: self._mixed.rolled_back(to=to))

    def committed(self) -> None:
        """The transaction was committed."""
        self._mixed.committed()

    def other(self, sql: str) -> None:
        """A statement ran that is neither a read nor a write."""
        self._safely("a statement could not be followed", lambda: self._mixed.other(sql))

    def registered(self) -> None:
        """The application's functions or collations changed."""
        self._mixed.registered()

    def traced(self, callback: Callable[[str], object]) -> Callable[[str], None]:
        """The user's trace callback, which sees nothing of what we run. While a statement runs,
        its lines wait: those of our triggers are taken away again."""
        self._tracer = callback
        self._safely("a trace could not be kept clean", lambda: self._mixed.trace(self._lines))

        def tracing(text: str) -> None:
            if self.quiet:
                return
            if self._follower.writing:
                self._lines.append(text)
            else:
                callback(text)

        return tracing

    def show(self) -> None:
        """Hand the lines of a statement over."""
        while self._lines and self._tracer is not None:
            self._tracer(self._lines.pop(0))

    def hears(self, trigger: object) -> bool:
        """Whether the user's authorizer is to be asked, about what this trigger does say."""
        return not self.quiet and not (isinstance(trigger, str) and trigger.startswith(OURS))
