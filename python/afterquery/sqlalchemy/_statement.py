"""One statement on its way to the driver."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat, starmap
from operator import itemgetter, length_hint
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

from afterquery._binding import bound
from afterquery.sqlalchemy._text import verb

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor, Dialect, ExecutionContext

    from afterquery import Replicator


def given(params: Any, dialect: Dialect) -> Any:
    """The parameters of one execution as the driver gets them, and the replicas: adapted, where it
    is Python's own `sqlite3` that would adapt them."""
    dbapi: Any = dialect.dbapi
    module = getattr(dbapi, "sqlite", dbapi)  # aiosqlite's adapter has sqlite3 there
    own = getattr(module, "PrepareProtocol", None) is sqlite3.PrepareProtocol
    return bound(params) if own else params


class Rows(list[Any]):
    """Sets of parameters that know how many of them the driver has taken."""

    def __init__(self, rows: Iterable[Any]) -> None:
        super().__init__(rows)
        self._iterator: Iterator[Any] | None = None
        self._counts: deque[int | None] = deque(maxlen=1)
        self.counter: Callable[[], int | None] | None = None
        """Asks for the connection's `total_changes`; implemented in C."""

    def __iter__(self) -> Iterator[Any]:
        # All of it in C, so that no signal handler comes between two rows.
        self._iterator = super().__iter__()
        if self.counter is None:
            return self._iterator
        counted = map(self._counts.append, starmap(self.counter, repeat(())))
        return map(itemgetter(0), zip(self._iterator, counted))  # noqa: B905 - the second never ends

    @property
    def taken(self) -> int:
        """How many the driver has taken."""
        return 0 if self._iterator is None else len(self) - length_hint(self._iterator)

    @property
    def changes(self) -> int | None:
        """The connection's `total_changes` before the last of them."""
        return self._counts[-1] if self._counts else None


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
