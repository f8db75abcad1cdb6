"""Puts followers onto the connections of an engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.exc import InvalidRequestError

from afterquery._errors import ConfigurationError
from afterquery._sql import BLANK
from afterquery.outbox._freezing import freezer
from afterquery.outbox._table import NAMES
from afterquery.sqlalchemy._driver import Driver
from afterquery.sqlalchemy._follower import UNSEEN, Follower, Last
from afterquery.sqlalchemy._guard import Guard
from afterquery.sqlalchemy._outbox import OutboxFollower
from afterquery.sqlalchemy._statement import Rows, Statement, given
from afterquery.sqlalchemy._targets import Target, engines_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPICursor, Dialect, ExecutionContext
    from sqlalchemy.pool import PoolProxiedConnection

    from afterquery import Replication, Replicator

_KEY = "afterquery"
_RANDOM = re.compile(rf"random(?:blob)?[\"`\]]?{BLANK}\(", re.IGNORECASE)
_attached: WeakSet[Engine] = WeakSet()


def attach(
    target: Target, replicator: Replicator | None = None, *, outbox: bool = False
) -> Attached:
    """Replicate what `target` commits from now on, each transaction as one write.

    `target` is an engine, or a sessionmaker that has its engines already; all connections of an
    engine are followed, whoever uses them. DDL is replicated where the replicator has `ddl=True`.

    With `outbox`, transactions are not submitted: each writes itself as a row into the table
    afterquery_outbox of the database, which is made if it is missing, and a relay delivers it
    (`afterquery.outbox`); no replicator is needed then.

    Raises `ConfigurationError`, a `ValueError`, for an engine that is not SQLite's or is attached
    already, for a sessionmaker without one, and for a missing replicator; `TypeError` for anything
    else.
    """
    if replicator is None:
        replicator = _without(outbox)
    engines = engines_of(target)
    for engine in engines:
        if outbox and engine.dialect.driver not in {"pysqlite", "aiosqlite"}:
            raise ConfigurationError(
                f"an outbox needs Python's own sqlite3, and {engine!r} has not"
            )
        if engine in _attached:
            raise ConfigurationError(f"{engine!r} is attached already; detach() it first")
    return Attached(engines, replicator, OutboxFollower if outbox else Follower)


def _without(outbox: bool) -> Replicator:
    if not outbox:
        raise ConfigurationError("attach() needs a replicator, or outbox=True")
    return freezer()


class Attached:
    """An engine, or several, whose commits are replicated until `detach()`."""

    def __init__(
        self, engines: list[Engine], replicator: Replicator, kind: type[Follower] = Follower
    ) -> None:
        self._replicator = replicator
        self._kind = kind
        self._guard = Guard(replicator)
        self._last: Last = ContextVar("afterquery_sqlalchemy_last")
        self._undo: list[Callable[[], None]] = []
        self._engines = engines
        for engine in engines:
            self._listen(engine)
            self._follow_ends(engine)
            _attached.add(engine)

    @property
    def errors(self) -> int:
        """How often something was not replicated that should have been; the log says what."""
        return self._guard.errors

    @property
    def last(self) -> Replication | None:
        """The write of the last transaction that this thread or task committed on these engines.

        None before the first one, where nothing was replicated, as long as it is held back, and
        with an outbox.
        """
        transaction = self._last.get(None)
        return transaction.replication if transaction is not None else None

    def detach(self) -> None:
        """Follow nothing any more; what is open now is not replicated. Harmless when repeated."""
        while self._undo:
            self._undo.pop()()
        for engine in self._engines:
            _attached.discard(engine)

    def _listen(self, engine: Engine) -> None:
        listeners: list[tuple[str, Callable[..., bool]]] = [
            ("do_execute", self._execute),
            ("do_executemany", self._executemany),
            ("do_execute_no_params", self._execute_no_params),
        ]
        for name, listener in listeners:
            event.listen(engine, name, listener)
            self._undo.append(partial(event.remove, engine, name, listener))

    def _follow_ends(self, engine: Engine) -> None:
        """Learn how COMMIT and ROLLBACK end: SQLAlchemy's events come before them."""
        dialect = engine.dialect
        for name in ("commit", "rollback"):
            original = getattr(dialect, f"do_{name}")
            self._replace(dialect, f"do_{name}", self._end(original, name))
        self._replace(dialect, "do_begin_twophase", _no_twophase)
        if issubclass(self._kind, OutboxFollower):
            # Not reflected: Alembic's autogenerate and drop_all() would drop what they find.
            for name in ("get_table_names", "get_view_names"):
                self._replace(dialect, name, _without_ours(getattr(dialect, name)))

    def _end(
        self, original: Callable[[PoolProxiedConnection], None], name: str
    ) -> Callable[[PoolProxiedConnection], None]:
        def replacement(connection: PoolProxiedConnection) -> None:
            follower = None
            with self._guard:
                follower = self._known(connection)
            if follower is None:
                with self._guard:
                    if name == "commit" and self._undo:
                        self._tell_unseen(connection)
                original(connection)
            else:
                getattr(follower, name)(lambda: original(connection))

        return replacement

    def _tell_unseen(self, connection: PoolProxiedConnection) -> None:
        """Nothing of this connection was seen, and yet it commits."""
        driver = Driver(connection)
        if driver.in_transaction and driver.total_changes:
            self._guard.missed(UNSEEN)

    def _replace(self, dialect: Dialect, name: str, replacement: Callable[..., Any]) -> None:
        before = vars(dialect).get(name)  # somebody else may have replaced it there

        def undo() -> None:
            if vars(dialect).get(name) is replacement:
                setattr(dialect, name, before) if before else delattr(dialect, name)

        setattr(dialect, name, replacement)
        self._undo.append(undo)

    def _frozen(self, sql: str, params: Any) -> str:
        """The text with what would differ on a replica frozen; the parameters stay."""
        with self._guard:
            # One value for all rows of an `executemany` would be another statement.
            if not isinstance(params, list) or not _RANDOM.search(sql):
                return self._replicator.before_query(sql, params)[0]
        return sql

    def _execute(
        self, cursor: DBAPICursor, sql: str, params: Any, context: ExecutionContext
    ) -> bool:
        values = given(params, context.dialect)
        text = self._frozen(sql, values)
        return self._run(
            Statement(cursor, text, values, context),
            partial(self._rest, "do_execute", self._execute, cursor, text, values, context),
        )

    def _executemany(
        self, cursor: DBAPICursor, sql: str, params: Any, context: ExecutionContext
    ) -> bool:
        rows = Rows(given(row, context.dialect) for row in params)
        text = self._frozen(sql, rows)
        return self._run(
            Statement(cursor, text, rows, context, rows),
            partial(self._rest, "do_executemany", self._executemany, cursor, text, rows, context),
        )

    def _execute_no_params(self, cursor: DBAPICursor, sql: str, context: ExecutionContext) -> bool:
        text = self._frozen(sql, ())
        return self._run(
            Statement(cursor, text, (), context),
            partial(
                self._rest, "do_execute_no_params", self._execute_no_params, cursor, text, context
            ),
        )

    def _rest(self, name: str, own: Callable[..., bool], *args: Any) -> None:
        """Run it as SQLAlchemy would if we were not there: by the listeners behind ours, the first
        that says it did, or by the driver."""
        dialect = args[-1].dialect
        listeners = list(getattr(dialect.dispatch, name))
        behind = listeners[listeners.index(own) + 1 :] if own in listeners else []
        if not any(listener(*args) for listener in behind):
            getattr(dialect, name)(*args)

    def _run(self, statement: Statement, run: Callable[[], None]) -> bool:
        """Run it; True tells SQLAlchemy that this is done."""
        follower = None
        if statement.verb == "SELECT":
            run()
            with self._guard:
                statement.count(self._replicator)
            return True
        with self._guard:
            follower = self._follower(statement.context.root_connection)
        if follower is None:
            run()
        else:
            follower.execute(run, statement)
        return True

    def _follower(self, connection: Connection) -> Follower | None:
        """The follower of a connection, a new one if need be."""
        proxied = connection.connection
        info = _info(proxied)
        follower = self._known(proxied)
        if follower is None and info is not None:
            follower = self._kind(
                Driver(proxied),
                self._replicator,
                self._guard,
                self._last,
                memory=connection.engine.pool,
            )
            info[_KEY] = (self, follower)
        return follower

    def _known(self, connection: PoolProxiedConnection) -> Follower | None:
        """The follower of what the pool has there now, if this is ours."""
        owner, follower = (_info(connection) or {}).get(_KEY, (None, None))
        known: Follower | None = follower
        if known is None or owner is not self or not self._undo:
            return None
        return known if known.driver.dbapi is connection.dbapi_connection else None


def _info(connection: PoolProxiedConnection) -> dict[Any, Any] | None:
    """What the pool keeps beside a connection; None while SQLAlchemy looks the driver over."""
    try:
        return connection.info
    except NotImplementedError:
        return None


def _without_ours(original: Callable[..., list[str]]) -> Callable[..., list[str]]:
    def names(*args: Any, **settings: Any) -> list[str]:
        return [name for name in original(*args, **settings) if name not in NAMES]

    return names


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """For `context.configure(include_name=...)` in Alembic's `env.py`: leaves the tables of the
    outbox alone, on an engine that is not attached."""
    del kind, parents
    return name not in NAMES


def _no_twophase(*_: object) -> None:
    raise InvalidRequestError(
        "afterquery does not follow two-phase transactions: SQLite has none, and replicas get "
        "only what is committed. Use begin(), or detach() this engine."
    )
