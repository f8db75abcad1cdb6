"""Connections whose transactions are followed."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from afterquery._errors import ConfigurationError
from afterquery._order import CommitOrder, order_for, order_of
from afterquery._warning import deprecated
from afterquery.outbox._freezing import freezer
from afterquery.sqlite3._authorizer import MEANINGS, watched
from afterquery.sqlite3._cursor import Cursor, follow, followed
from afterquery.sqlite3._follower import Follower
from afterquery.sqlite3._gathering import Gathering
from afterquery.sqlite3._mixed import Following
from afterquery.sqlite3._modes import (
    autocommit,
    autocommit_setter,
    isolation_level,
    isolation_level_setter,
    own_cursor,
    real_total_changes,
    true_errors,
)
from afterquery.sqlite3._outbox import OutboxGathering

if TYPE_CHECKING:
    from types import TracebackType

    from afterquery import Replication, Replicator

_text_factory: Any = sqlite3.Connection.text_factory


class Connection(sqlite3.Connection):
    """A `sqlite3.Connection` whose committed transactions reach the replicas.

    Made by `connect`; everything else is as in the standard library.
    """

    _follower: Follower
    _made = False
    """Whether `connect` is through with it."""

    def __init__(self, database: Any, *arguments: Any, **settings: Any) -> None:
        """As `sqlite3.Connection`, which may be called late, or again."""
        follower, made = self._follower, self._made
        try:
            super().__init__(database, *arguments, **settings)
        finally:  # a second time, it empties the object
            self._follower, self._made = follower, made
        if made:
            follower.gathering.drop()
            self._opened(database)

    def _opened(self, database: Any) -> None:
        """The database is open: find its order of commits, and prepare it."""
        self._follower.gathering.order = _order(self, database)
        try:
            self._follower.gathering.prepare(self)
        except BaseException:
            self.close()
            raise

    @property
    def replication(self) -> Replication | None:
        """The handle of the last write that was submitted; None before the first, and where a
        request holds it back."""
        return self._follower.gathering.replication

    def cursor(self, factory: Any = Cursor) -> Any:
        """As `sqlite3.Connection.cursor`; a class of yours calls `super().execute(...)`."""
        if isinstance(factory, type) and issubclass(factory, sqlite3.Cursor):
            return super().cursor(followed(factory))
        return super().cursor(lambda connection: follow(self, factory(connection)))

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As `sqlite3.Connection.execute`."""
        return super().cursor(Cursor).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """As `sqlite3.Connection.executemany`."""
        return super().cursor(Cursor).executemany(sql, parameters)

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """As `sqlite3.Connection.executescript`."""
        return super().cursor(Cursor).executescript(sql_script)

    def set_authorizer(self, *arguments: Any, **settings: Any) -> None:
        """As `sqlite3.Connection.set_authorizer`. Where it has SQLite ignore a part of a write, the
        replicas do not, and that is told."""
        if not arguments and settings.keys() == {"authorizer_callback"}:
            arguments, settings = (settings["authorizer_callback"],), {}
            if sys.version_info >= (3, 13):
                deprecated(_KEYWORD.format(name="authorizer_callback", method="set_authorizer"))
        if len(arguments) == 1 and callable(arguments[0]):
            arguments = (watched(arguments[0], self._follower),)
        super().set_authorizer(*arguments, **settings)

    def _trace(self, *arguments: Any, **settings: Any) -> None:
        """As `sqlite3.Connection.set_trace_callback`, where replication is mixed."""
        mixed = self._follower.mixed
        if not arguments and settings.keys() == {"trace_callback"}:
            arguments, settings = (settings["trace_callback"],), {}
            if sys.version_info >= (3, 13):
                deprecated(_KEYWORD.format(name="trace_callback", method="set_trace_callback"))
        if mixed is not None and len(arguments) == 1 and callable(arguments[0]):
            arguments = (mixed.traced(arguments[0]),)
        sqlite3.Connection.set_trace_callback(self, *arguments, **settings)

    if hasattr(sqlite3.Connection, "setconfig"):

        def setconfig(self, op: int, enable: bool = True, /) -> None:
            """As `sqlite3.Connection.setconfig`. What changes the meaning of writes is told."""
            super().setconfig(op, enable)  # type: ignore[misc]
            if MEANINGS.get(op) is bool(enable):
                self._follower.gathering.unseen(
                    "setconfig changed what writes do, and the replicas do otherwise"
                )

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
    def total_changes(self) -> int:
        """As in `sqlite3`: what ours change for an outbox is not counted."""
        return real_total_changes(self) - self._follower.gathering.uncounted

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


_FACTORY = 4
"""Its place among the positional arguments after the database."""


def connect(
    database: Any,
    *arguments: Any,
    replicator: Replicator | None = None,
    outbox: bool = False,
    replication: Literal["statements", "mixed"] = "statements",
    **settings: Any,
) -> Connection:
    """Open a database whose committed transactions reach the replicas.

    `database`, `arguments` and `settings` are those of `sqlite3.connect`; a `factory` is a class of
    connections. With `outbox`, transactions are not submitted: each writes itself as a row into
    the table afterquery_outbox of the database (`afterquery.outbox`), which is made if it is
    missing; they need no replicator. With `replication="mixed"`, a statement that means
    something else on a replica travels as the rows that it changed. Raises what `sqlite3.connect`
    raises, and `ConfigurationError` where the replicator is missing or the factory is none.
    """
    replicator = replicator or _without(outbox)
    factory = settings.pop("factory", Connection)
    if len(arguments) > _FACTORY:
        factory = arguments[_FACTORY]
    kind = _followed(_class(factory))  # type: ignore[arg-type]

    def make(*args: Any, **kwargs: Any) -> Connection:
        connection = kind.__new__(kind)
        gathering = OutboxGathering(replicator) if outbox else Gathering(replicator)
        follower = Follower(replicator, gathering)
        if replication == "mixed":
            follower.mixed = Following(connection, follower, replicator)
        connection._follower = follower  # __init__ may run statements
        connection.__init__(*args, **kwargs)  # type: ignore[misc]
        return connection

    if len(arguments) > _FACTORY:
        arguments = (*arguments[:_FACTORY], make, *arguments[_FACTORY + 1 :])
    else:
        settings["factory"] = make
    if arguments and sys.version_info >= (3, 13):
        deprecated(_POSITIONAL)
    connection: Connection = sqlite3.connect(database, *arguments, **settings)
    if _is_open(connection):
        connection._opened(database)
    connection._made = True
    return connection


_POSITIONAL = (
    "Passing more than 1 positional argument to sqlite3.connect() is deprecated. Parameters "
    "'timeout', 'detect_types', 'isolation_level', 'check_same_thread', 'factory', "
    "'cached_statements' and 'uri' will become keyword-only parameters in Python 3.15."
)


_KEYWORD = (
    "Passing keyword argument '{name}' to _sqlite3.Connection.{method}() is deprecated. Parameter "
    "'{name}' will become positional-only in Python 3.15."
)


class _Watched:
    """A method of the standard library's class, called as it is: no line of ours is between. That
    it is asked for tells that functions or collations may change."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def __get__(self, connection: Connection | None, owner: type | None = None) -> Any:
        if connection is None:
            return self._method
        mixed = connection._follower.mixed
        if mixed is not None:
            mixed.registered()
        return self._method.__get__(connection, owner)


class _Traced(_Watched):
    """`set_trace_callback`; where replication is mixed, the callback is to see nothing of ours."""

    def __get__(self, connection: Connection | None, owner: type | None = None) -> Any:
        if connection is None or connection._follower.mixed is None:
            return self._method if connection is None else self._method.__get__(connection, owner)
        return connection._trace


for _name in (
    "create_function",
    "create_aggregate",
    "create_collation",
    "create_window_function",
    "load_extension",
):
    if hasattr(sqlite3.Connection, _name):
        setattr(Connection, _name, _Watched(getattr(sqlite3.Connection, _name)))
Connection.set_trace_callback = _Traced(sqlite3.Connection.set_trace_callback)  # type: ignore[method-assign,assignment]


def _class(factory: Any) -> type[sqlite3.Connection]:
    if isinstance(factory, type) and issubclass(factory, sqlite3.Connection):
        return factory
    raise ConfigurationError(
        f"factory must be a subclass of sqlite3.Connection, not {factory!r}: "
        "what a function makes cannot be followed"
    )


def _is_open(connection: sqlite3.Connection) -> bool:
    """Whether the class of the user's has called `sqlite3.Connection.__init__`; before that, a
    cursor would end the process, and other attributes raise."""
    try:
        return connection.total_changes >= 0
    except sqlite3.ProgrammingError:
        return False


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
    path = _path(connection)
    if path:
        return order_of(os.fsdecode(path))
    shared = isinstance(database, str) and database.startswith("file:") and "memory" in database
    return order_for(database) if shared else CommitOrder()


def _path(connection: sqlite3.Connection) -> bytes:
    """The path of the main database, in whatever encoding; empty for one in memory."""
    text_factory = _text_factory.__get__(connection)
    _text_factory.__set__(connection, bytes)
    try:
        # This PRAGMA does not read the file: it may be locked, or need a key. And the main database
        # by its number, because its name depends on the text factory, too.
        rows = own_cursor(connection).execute("PRAGMA database_list").fetchall()
    finally:
        _text_factory.__set__(connection, text_factory)
    return next((row[2] for row in rows if row[0] == 0), b"") or b""
