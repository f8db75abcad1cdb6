"""One statement on its way to the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

from afterquery.sqlalchemy._text import verb

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

    from afterquery import Replicator


class Rows(list[Any]):
    """Sets of parameters that know how many of them the driver has taken."""

    _iterator: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        # Its own in C, so that no signal handler comes between two rows.
        self._iterator = super().__iter__()
        return self._iterator

    @property
    def taken(self) -> int:
        return 0 if self._iterator is None else len(self) - length_hint(self._iterator)


class Statement:
    """Text and parameters as the driver gets them."""

    def __init__(
        self,
        cursor: DBAPICursor,
        sql: str,
        params: Any,
        context: ExecutionContext,
        rows: Rows | None = None,
    ) -> None:
        self.cursor = cursor
        self.sql = sql
        self.params = params
        self.context = context
        self.rows = rows
        self.verb, self.verb_start = verb(sql)

    @property
    def many(self) -> bool:
        """Whether this is an `executemany`."""
        return self.rows is not None

    def done(self) -> list[Any]:
        """The rows of a failed `executemany` that came before the one that failed."""
        return [] if self.rows is None else self.rows[: max(0, self.rows.taken - 1)]

    def count(self, replicator: Replicator) -> None:
        """Have a read counted as one."""
        replicator.transaction().after_query(self.sql)

    @property
    def rowcount(self) -> int | None:
        """How many rows it changed; None where the driver does not know, or not yet."""
        if self.cursor.description:
            return None  # sqlite3 counts when the last row has been fetched
        count = self.cursor.rowcount
        return count if count >= 0 else None

    def buffer(self) -> None:
        """Fetch what RETURNING gives, and leave it for SQLAlchemy: SQLite cannot commit before."""
        if not self.cursor.description:
            return
        rows = self.cursor.fetchall()
        context: Any = self.context
        context.fetchall_for_returning = _once(context, rows)
        context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(
            self.cursor, initial_buffer=rows
        )


def _once(context: Any, rows: Sequence[Any]) -> Callable[[DBAPICursor], Sequence[Any]]:
    """Gives one batch of `insertmanyvalues` its rows; the next one may fetch its own."""

    def fetchall(_: DBAPICursor) -> Sequence[Any]:
        del context.fetchall_for_returning
        return rows

    return fetchall
