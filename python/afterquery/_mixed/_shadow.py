"""A database in memory with the same schema: asked what a statement would read and write.

The authorizer there is ours, so that nothing is asked of the user's connection, and SQLite itself
tells what no text shows: which database a name resolves to, which triggers fire and what they
write, what a view stands for, and which foreign keys act.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from typing import Any, NamedTuple

from afterquery._mixed._signature import Database, Object, Settings, Signature
from afterquery._mixed._words import quoted
from afterquery._sql import fold

WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}


class Access(NamedTuple):
    """One thing that a statement does, as the authorizer is told."""

    action: int
    first: str | None
    second: str | None
    database: str | None
    by: str | None
    """The innermost trigger or view that does it."""


class Shadow:
    """The schema of a connection, without its rows."""

    def __init__(self, signature: Signature) -> None:
        self.connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=0
        )
        self.missing: set[tuple[str, str]] = set()
        """What could not be made: of each, its database and name."""
        self._lock = threading.Lock()
        self._seen: list[Access] | None = None
        self._settings: Settings | None = None
        self._fill(signature)
        self.connection.set_authorizer(self._authorize)

    def __del__(self) -> None:
        with suppress(AttributeError):
            self.connection.close()

    def accesses(self, sql: str, settings: Settings) -> list[Access]:
        """What the one statement of a text would do. Raises `sqlite3.Error` where it cannot be
        compiled."""
        with self._lock:
            self._set(settings)
            self._seen = []
            try:
                # No value is bound: it is compiled, and never runs.
                self.connection.execute(f"EXPLAIN {sql}", {}).close()
            except sqlite3.ProgrammingError as error:
                if "inding" not in str(error):
                    raise
            finally:
                seen, self._seen = self._seen, None
            return seen

    def rows(self, sql: str, parameters: Any = ()) -> list[Any]:
        """What it answers about its schema."""
        with self._lock:
            return self.connection.execute(sql, parameters).fetchall()

    def _set(self, settings: Settings) -> None:
        if settings != self._settings:
            for name, value in settings._asdict().items():
                self.connection.execute(f"PRAGMA {name} = {int(value)}")
            self._settings = settings

    def _authorize(self, *access: Any) -> int:
        if self._seen is not None:
            self._seen.append(Access(*access))
        return sqlite3.SQLITE_OK

    def _fill(self, signature: Signature) -> None:
        self.connection.execute(f"PRAGMA encoding = '{signature.encoding}'")
        for name, kind, count in signature.functions:
            _stand_in(self.connection, name, kind, count)
        for name in signature.collations:
            self.connection.create_collation(name, lambda a, b: (a > b) - (a < b))
        for database in signature.databases:
            if database.name not in {"main", "temp"}:
                self.connection.execute(f"ATTACH ':memory:' AS {quoted(database.name)}")
        # Triggers of temp may be on tables of the others.
        for database in sorted(signature.databases, key=lambda one: one.name == "temp"):
            self._make(database)

    def _make(self, database: Database) -> None:
        for item in database.objects:
            if fold(item.name).startswith("sqlite_"):
                continue
            try:
                self.connection.execute(_qualified(item, database.name))
            except (sqlite3.Error, sqlite3.Warning) as error:
                # The tables behind a virtual one came with it.
                if "already exists" not in str(error):
                    self.missing.add((database.name, item.name))


_KINDS = {
    "table": ("CREATE VIRTUAL TABLE ", "CREATE TABLE "),
    "index": ("CREATE UNIQUE INDEX ", "CREATE INDEX "),
    "view": ("CREATE VIEW ",),
    "trigger": ("CREATE TRIGGER ",),
}


def _qualified(item: Object, database: str) -> str:
    """Its statement with the database's name. SQLite keeps each text from the name on."""
    for start in _KINDS[item.kind]:
        if item.sql.startswith(start):
            return f"{start}{quoted(database)}.{item.sql[len(start) :]}"
    return item.sql


def _stand_in(connection: sqlite3.Connection, name: str, kind: str, count: int) -> None:
    if kind == "s":
        connection.create_function(name, count, lambda *_: None, deterministic=True)
    elif kind == "w" and hasattr(connection, "create_window_function"):
        connection.create_window_function(name, count, _Window)
    else:
        connection.create_aggregate(name, count, _Window)  # type: ignore[arg-type]


class _Window:
    def step(self, *_: Any) -> None: ...

    def inverse(self, *_: Any) -> None: ...

    def value(self) -> None: ...

    def finalize(self) -> None: ...
