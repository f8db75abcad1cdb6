"""Statements of ours on the user's connection, which find and leave it as the user set it up."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from afterquery._mixed._values import InvalidText

_text_factory: Any = sqlite3.Connection.text_factory

Quiet = Callable[[], AbstractContextManager[object]]
"""While its context is open, the user's authorizer and trace callback see nothing."""


class Own:
    """Runs statements of ours: no row factory, converter or text factory of the user's has a part
    in them. Raises `sqlite3.Error` as SQLite does."""

    def __init__(self, connection: sqlite3.Connection, quiet: Quiet = nullcontext) -> None:
        self.connection = connection
        self.quiet = quiet

    def run(self, sql: str, parameters: Any = ()) -> None:
        """Run a statement that gives no rows."""
        with self.quiet():
            sqlite3.Cursor(self.connection).execute(sql, parameters).close()

    def rows(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of a query. A text that is no UTF-8 is an `InvalidText`; columns have to be
        expressions with plain aliases, or converters would be asked."""
        with self.quiet(), _texts(self.connection):
            return sqlite3.Cursor(self.connection).execute(sql, parameters).fetchall()

    def pieces(self, sql: str, count: int) -> Iterator[list[tuple[Any, ...]]]:
        """The same, so many rows at a time: of a table that may be large."""
        with self.quiet(), _texts(self.connection):
            cursor = sqlite3.Cursor(self.connection).execute(sql)
            while rows := cursor.fetchmany(count):
                yield rows

    def number(self, sql: str) -> int:
        """The one number that a query gives."""
        with self.quiet():
            found: int = sqlite3.Cursor(self.connection).execute(sql).fetchone()[0]
            return found

    def function(self, name: str, count: int, function: Callable[..., Any]) -> None:
        """Register a function of ours."""
        sqlite3.Connection.create_function(self.connection, name, count, function)


@contextmanager
def _texts(connection: sqlite3.Connection) -> Iterator[None]:
    """Whatever the user made of texts, they are ours to read here. One that is no UTF-8 raises
    nothing."""
    factory = _text_factory.__get__(connection)
    _text_factory.__set__(connection, _decoded)
    try:
        yield
    finally:
        _text_factory.__set__(connection, factory)


def _decoded(text: bytes) -> str | InvalidText:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return InvalidText(text)
