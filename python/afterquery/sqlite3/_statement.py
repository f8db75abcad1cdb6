"""What has to be known of a statement before it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from afterquery import classify
from afterquery._core import Statement as Found
from afterquery._sql import NAME, fold

_CACHED_CHARACTERS = 16_384
"""Longer texts are seldom seen twice, and would fill the memory."""

# How sqlite3 finds the first word, which is not how SQLite does.
_BLANK = r"(?:[ \t\f\r\n]|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*"
_BEGINS = re.compile(_BLANK + r"(?:insert|update|delete|replace)", re.IGNORECASE | re.DOTALL)
_MAY_NAME = re.compile(rf"[:@$]{NAME}")
_PARAMETER = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]"""
    rf"""|{NAME}+|(\?[0-9]*|[:@$]{NAME}+)""",
    re.DOTALL,
)
_READ_ONLY = frozenset({"SELECT", "VALUES", "WITH"})
_CONNECTION = re.compile(r"last_insert_rowid|changes", re.IGNORECASE)


@dataclass(frozen=True)
class Control:
    """A statement that moves the transaction: its verb and, for savepoints, the name."""

    verb: str
    """BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE or TO, which is ROLLBACK TO."""
    name: str = ""
    """As SQLite compares it."""


@dataclass(frozen=True)
class Statement:
    """One statement, as the text shows it."""

    writes: bool
    """It may change a table or the schema."""
    known: bool
    """It certainly does, and may run in a transaction."""
    ddl: bool
    """It changes the schema, if that is not done already."""
    holds: bool
    """It is no write, but SQLite takes it for one as long as it has rows to give."""
    control: Control | None
    begins: bool
    """`sqlite3` begins a transaction before it, where isolation_level says so."""
    deterministic: bool
    connection: bool
    """It may ask for last_insert_rowid(), changes() or total_changes()."""
    named: tuple[int, str] | None = None
    """The number of the first parameter that has a name, and the name with its first character."""


def statement(sql: str) -> Statement:
    """What the text of one statement shows; TypeError where it is not a str."""
    return _read(sql) if len(sql) > _CACHED_CHARACTERS else _cached(sql)


def _read(sql: str) -> Statement:
    found = classify(sql).statements
    kind = found[0].kind if found else "read"
    deterministic = all(one.deterministic for one in found)
    return Statement(
        writes=kind in {"write", "ddl", "unknown"},
        known=kind in {"write", "ddl"},
        ddl=kind == "ddl",
        holds=bool(found) and found[0].verb not in _READ_ONLY and kind in {"read", "other"},
        control=_control(found[0]) if kind == "txn" else None,
        begins=_BEGINS.match(sql) is not None,
        deterministic=deterministic,
        connection=not deterministic and _CONNECTION.search(sql) is not None,
        named=_named(sql) if _MAY_NAME.search(sql) else None,
    )


_cached = lru_cache(maxsize=1_024)(_read)


def _named(sql: str) -> tuple[int, str] | None:
    last = 0
    for token in _PARAMETER.findall(sql):
        if token[:1] in {":", "@", "$"}:
            return last + 1, token
        if token:  # one without a name
            last = max(last, int(token[1:])) if token[1:] else last + 1
    return None


def _control(found: Found) -> Control:
    if found.verb == "ROLLBACK" and found.savepoint is not None:
        return Control("TO", fold(found.savepoint))
    return Control("COMMIT" if found.verb == "END" else found.verb, fold(found.savepoint or ""))
