"""What everything here writes: one table, statements of about 100 bytes and five parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TOKEN = "admin-token-of-the-tests"
"""What `tests/support` starts replicas with; rivals send it too."""

SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, name, email, score REAL, note)"
READ = "SELECT id, name, email FROM users WHERE id = ?"
WRITE = "INSERT INTO users (id, name, email, score, note) VALUES (?, ?, ?, ?, ?)"
UPDATE = "UPDATE users SET name = ?, email = ?, score = score + ?, note = NULL WHERE id = ?"
DELETE = "DELETE FROM users WHERE id = ?"

Row = tuple[int, str, str, float, None]


def row(n: int) -> Row:
    return (n, "Ada Lovelace", "ada@example.com", 1.5, None)


def literal(n: int) -> str:
    """The write as a careful person would put it into a text."""
    return _filled(*_insert(n))


@dataclass(frozen=True)
class Workload:
    """Writes that change one row each."""

    name: str
    write: Callable[[int], tuple[str, tuple[Any, ...]]]
    """The text and parameters of number n, from 0."""
    rows: Callable[[int], int]
    """How many rows the table has after so many writes."""

    def literal(self, n: int) -> str:
        return _filled(*self.write(n))


def _insert(n: int) -> tuple[str, tuple[Any, ...]]:
    return WRITE, row(n)


def _mixed(n: int) -> tuple[str, tuple[Any, ...]]:
    of, step = divmod(n, 3)
    if step == 0:
        return WRITE, row(of)
    if step == 1:
        return UPDATE, ("Grace Hopper", "grace@example.com", 0.5, of)
    return DELETE, (of,)


def _filled(sql: str, params: tuple[Any, ...]) -> str:
    for value in params:
        shown = "NULL" if value is None else repr(value)
        sql = sql.replace("?", shown, 1)
    return sql


INSERTS = Workload("inserts", _insert, lambda writes: writes)
"""One INSERT again and again: what a log, a queue or an import writes."""

MIXED = Workload("mixed", _mixed, lambda writes: int(writes % 3 > 0))
"""INSERT, UPDATE, DELETE in turns: no two that follow each other can be sent as one statement."""
