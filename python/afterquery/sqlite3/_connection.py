"""Connections whose transactions are followed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from afterquery._errors import ConfigurationError
from afterquery._order import CommitOrder, file_key, order_for
from afterquery.outbox._freezing import freezer
from afterquery.sqlite3._cursor import Cursor, follow, followed
from afterquery.sqlite3._follower import Follower
from afterquery.sqlite3._gathering import Gathering
from afterquery.sqlite3._modes import (
    autocommit,
    autocommit_setter,
    isolation_level,
    isolation_level_setter,
    own_cursor,
    true_errors,
)
from afterquery.sqlite3._outbox import OutboxGathering

if TYPE_CHECKING:
    from types import TracebackType

    from afterquery import Replication, Replicator


class Connection(sqlite3.Connection):
    """A `sqlite3.Connection` whose committed transactions reach the replicas.

    Made by `connect`; everything else is as in the standard library.
    """

    _follower: Follower

    @property
    def replication(self) -> Replication | None:
        """The handle of the last write that was submitted; None before the first, and where a
        request holds it back."""
        return self._follower.gathering.replication

    def cursor(self, factory: Any = Cursor) -> Any:
        """As `sqlite3.Connection.cursor`; a class of yours calls `super().execute(...)`."""
        if isinstance(factory, type) and issubclass(factory, sqlite3.Cursor):
            return super().cursor(followed(factory))
        return super().cursor(lambda connection: follow(factory(connection)))

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As `sqlite3.Connection.execute`."""
        return super().cursor(Cursor).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """As `sqlite3.Connection.executemany`."""
        return super().cursor(Cursor).executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """As `sqlite3.Connection.executescript`."""
        return super().cursor(Cursor).executescript(sql_script)

    def commit(self) -> None:
        """As `sqlite3.Connection.commit`."""
        reopens = autocommit(self) is False
        self._follower.committing(self, super().commit, reopens=reopens)

    def rollback(self) -> None:
        """As `sqlite3.Connection.rollback`."""
        reopens = autocommit(self) is False
        self._follower.rolling_back(self, super().rollback, reopens=reopens)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> Literal[False]:
        if kind is not None:
            Connection.rollback(self)
            return False
        try:
            Connection.commit(self)
        except BaseException:
            Connection.rollback(self)
            raise
        return False

    def close(self) -> None:
        """As `sqlite3.Connection.close`: an open transaction is rolled back."""
        super().close()
        self._follower.gathering.drop()

    @property
    def isolation_level(self) -> Any:
        """As in `sqlite3`; setting it to None commits."""
        return isolation_level(self)

    @isolation_level.setter
    def isolation_level(self, level: Any) -> None:
        reopens = level is None and autocommit(self) is False
        with true_errors():
            self._follower.committing(self, isolation_level_setter(self, level), reopens=reopens)

    if hasattr(sqlite3.Connection, "autocommit"):

        @property
        def autocommit(self) -> Any:
            """As in `sqlite3`; setting it to True commits."""
            return autocommit(self)

        @autocommit.setter
        def autocommit(self, value: Any) -> None:
            self._follower.committing(self, autocommit_setter(self, value))


def connect(
    database: Any,
    *,
    replicator: Replicator | None = None,
    outbox: bool = False,
    factory: type[sqlite3.Connection] = Connection,
    **settings: Any,
) -> Connection:
    """Open a database whose committed transactions reach the replicas.

    `database` and `settings` are those of `sqlite3.connect`; a `factory` is a class of
    connections. With `outbox`, transactions are not submitted: each writes itself as a row into
    the table afterquery_outbox of the database (`afterquery.outbox`), which is made if it is
    missing; they need no replicator. Raises what `sqlite3.connect` raises, and
    `ConfigurationError` where the replicator is missing.
    """
    replicator = replicator or _without(outbox)
    kind = _followed(factory)  # type: ignore[arg-type]

    def make(*args: Any, **kwargs: Any) -> Connection:
        connection = kind.__new__(kind)
        gathering = OutboxGathering(replicator) if outbox else Gathering(replicator)
        connection._follower = Follower(replicator, gathering)  # __init__ may run statements
        connection.__init__(*args, **kwargs)  # type: ignore[misc]
        return connection

    connection: Connection = sqlite3.connect(database, factory=make, **settings)  # type: ignore[call-overload]
    connection._follower.gathering.order = _order(connection, database)
    try:
        connection._follower.gathering.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _without(outbox: bool) -> Replicator:
    if not outbox:
        raise ConfigurationError("connect() needs a replicator, or outbox=True")
    return freezer()


@cache
def _followed(kind: type[sqlite3.Connection]) -> type[Connection]:
    """A class of connections of the user's, on top of ours."""
    if issubclass(kind, Connection):
        return kind
    if kind is sqlite3.Connection:
        return Connection
    return type(kind.__name__, (kind, Connection), {})


def _order(connection: sqlite3.Connection, database: Any) -> CommitOrder:
    """The order of commits: one for all connections to the same file, or to the same memory."""
    # By its number: a connection of the user's class may have a `text_factory` of its own.
    # And by this PRAGMA, which does not read the file: it may be locked, or need a key.
    rows = own_cursor(connection).execute("PRAGMA database_list").fetchall()
    (path,) = [row[2] for row in rows if row[0] == 0]
    if path:
        return order_for(file_key(os.fsdecode(path)))
    shared = isinstance(database, str) and database.startswith("file:") and "memory" in database
    return order_for(database) if shared else CommitOrder()
