"""What has to be known of a statement before it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from afterquery import classify

_CACHED_CHARACTERS = 16_384
"""Longer texts are seldom seen twice, and would fill the memory."""

_BLANK = r"(?:[ \t\f\r\n]|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*"
_BEGINS = re.compile(_BLANK + r"(?:insert|update|delete|replace)", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$\x80-\U0010ffff]+""",
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
        control=_control(sql) if kind == "txn" else None,
        begins=_BEGINS.match(sql) is not None,
        deterministic=deterministic,
        connection=not deterministic and _CONNECTION.search(sql) is not None,
    )


_cached = lru_cache(maxsize=1_024)(_read)


def _control(sql: str) -> Control:
    tokens = [token for token in _TOKEN.findall(sql) if not token.startswith(("--", "/*"))]
    verb = tokens[0].upper()
    if verb in {"SAVEPOINT", "RELEASE"}:
        return Control(verb, _name(tokens[-1]))
    if verb == "ROLLBACK" and "TO" in (token.upper() for token in tokens[1:4]):
        return Control("TO", _name(tokens[-1]))
    return Control("COMMIT" if verb == "END" else verb)


def _name(token: str) -> str:
    """The name as SQLite compares it: without its quotes, and ASCII letters without their case."""
    quote = token[0]
    if quote == "[":
        token = token[1:-1]
    elif quote in "\"'`":
        token = token[1:-1].replace(quote * 2, quote)
    return "".join(letter.lower() if letter.isascii() else letter for letter in token)
