"""What a connection's statements mean depends on: schemas, functions, collations, settings."""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import NamedTuple

from afterquery._mixed._own import Own
from afterquery._mixed._words import quoted
from afterquery._sql import fold


class Object(NamedTuple):
    """A row of sqlite_master."""

    kind: str
    name: str
    table: str
    sql: str

    @property
    def virtual(self) -> bool:
        """Whether it is a virtual table: SQLite keeps each text with its own first words."""
        return self.sql.startswith("CREATE VIRTUAL TABLE ")


class Database(NamedTuple):
    """One database of a connection: main, temp, or an attached one."""

    name: str
    objects: tuple[Object, ...]


class Function(NamedTuple):
    """A function that the application registered, perhaps in the place of a built-in one."""

    name: str
    kind: str
    arguments: int


class Signature(NamedTuple):
    """Two connections with the same one share a model."""

    databases: tuple[Database, ...]
    functions: frozenset[Function]
    collations: frozenset[str]
    encoding: str


class Settings(NamedTuple):
    """The PRAGMAs that decide what else a statement does."""

    foreign_keys: bool
    recursive_triggers: bool


def read_signature(own: Own) -> Signature:
    """Ask the connection."""
    # Their names in the order in which SQLite looks a name up: temp first, then main.
    names = [row[1] for row in own.rows("PRAGMA database_list")]
    return Signature(
        tuple(Database(name, _objects(own, name)) for name in names),
        _functions(own),
        frozenset(fold(row[1]) for row in own.rows("PRAGMA collation_list")) - _COLLATIONS,
        str(own.rows("PRAGMA encoding")[0][0]),
    )


def read_settings(own: Own) -> Settings:
    """Ask the connection."""
    return Settings(
        bool(own.number("PRAGMA foreign_keys")), bool(own.number("PRAGMA recursive_triggers"))
    )


_COLLATIONS = frozenset({"binary", "nocase", "rtrim"})
_OBJECTS = """SELECT type AS a, name AS b, tbl_name AS c, sql AS d FROM {}.sqlite_master
WHERE sql IS NOT NULL ORDER BY rowid"""


def _objects(own: Own, database: str) -> tuple[Object, ...]:
    rows = own.rows(_OBJECTS.format(quoted(database)))
    ours = "afterquery_"
    return tuple(
        Object(*row) for row in rows if not (row[0] == "trigger" and fold(row[1]).startswith(ours))
    )


def _functions(own: Own) -> frozenset[Function]:
    found = set(own.rows("PRAGMA function_list")) - _bare_functions()
    return frozenset(
        Function(fold(name), kind, count)
        for name, builtin, kind, _, count, _ in found
        if not builtin and not fold(name).startswith("afterquery_")
    )


@cache
def _bare_functions() -> frozenset[tuple[object, ...]]:
    """Those that each connection of this SQLite has."""
    connection = sqlite3.connect(":memory:")
    try:
        return frozenset(connection.execute("PRAGMA function_list"))
    finally:
        connection.close()


@cache
def known_functions() -> frozenset[str]:
    """Their names."""
    return frozenset(fold(str(row[0])) for row in _bare_functions())
