"""One statement on its way to the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

from afterquery.sqlalchemy._text import verb

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext


class Statement:
    """Text and parameters as the driver gets them."""

    def __init__(
        self, cursor: DBAPICursor, sql: str, params: Any, context: ExecutionContext, many: bool
    ) -> None:
        self.cursor = cursor
        self.sql = sql
        self.params = params
        self.context = context
        self.many = many
        self.verb, self.verb_start = verb(sql)
        self._taken = 0

    def counted(self) -> Iterator[Any]:
        """The rows of `executemany`, counted as the driver takes them."""
        for self._taken, row in enumerate(self.params, 1):  # noqa: B020 - the count outlives a failure
            yield row

    def done(self) -> Sequence[Any]:
        """The rows of a failed `executemany` that came before the one that failed."""
        return list(self.params[: max(0, self._taken - 1)]) if self.many else []

    @property
    def rowcount(self) -> int | None:
        """How many rows it changed; None where the driver does not know, or not yet."""
        if self.cursor.description is not None:
            return None  # sqlite3 counts when the last row has been fetched
        count = self.cursor.rowcount
        return count if count >= 0 else None

    def buffer(self) -> None:
        """Fetch what RETURNING gives, and leave it for SQLAlchemy: SQLite cannot commit before."""
        if self.cursor.description is None:
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
