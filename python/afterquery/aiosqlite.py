"""`aiosqlite`, followed: what commits reaches the replicas.

```python
async with afterquery.aiosqlite.connect("app.db", replicator=replicator) as db:
    await db.execute("INSERT INTO users (name) VALUES (?)", ("Ada",))
    await db.commit()
    await db.replication
```
"""

from __future__ import annotations

import os
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

import aiosqlite

from afterquery import sqlite3
from afterquery._warning import deprecated

if TYPE_CHECKING:
    from collections.abc import Generator

    from typing_extensions import Self

    from afterquery import Replication, Replicator

__all__ = ["Connection", "connect"]


class Connection(aiosqlite.Connection):
    """An `aiosqlite.Connection` whose committed transactions reach the replicas."""

    @property
    def replication(self) -> Replication | None:
        """The handle of the last write that was submitted; None before the first, and where a
        request holds it back. ValueError where the connection is not open."""
        return cast("sqlite3.Connection", self._conn).replication

    def __await__(self) -> Generator[Any, None, Self]:
        yield from super().__await__()
        return self

    async def __aenter__(self) -> Self:
        return await self

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        # The thread of the connection sees the request that a statement belongs to.
        run: Any = super()._execute
        return await run(copy_context().run, fn, *args, **kwargs)


def connect(
    database: Any,
    *,
    replicator: Replicator | None = None,
    iter_chunk_size: int = 64,
    loop: Any = None,
    **settings: Any,
) -> Connection:
    """Open a database whose committed transactions reach the replicas.

    The arguments are those of `aiosqlite.connect`, and `outbox` is that of
    `afterquery.sqlite3.connect`; await the result, or enter it with `async with`.
    Raises then what `sqlite3.connect` raises.
    """
    if loop is not None:
        deprecated("aiosqlite.connect() no longer uses the `loop` parameter")
    if not isinstance(database, (str, bytes, os.PathLike)):
        database = str(database)  # as aiosqlite does

    def open_database() -> sqlite3.Connection:
        return sqlite3.connect(database, replicator=replicator, **settings)

    return Connection(open_database, iter_chunk_size)
