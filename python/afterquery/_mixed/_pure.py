"""Which expressions give the same on every SQLite, whenever they are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from afterquery._mixed._words import Token, tokens, unquote
from afterquery._sql import fold
from afterquery.lint.expressions import parts

PURE = frozenset(
    {
        "abs", "char", "coalesce", "ifnull", "iif", "length", "likely", "lower", "ltrim", "max",
        "min", "nullif", "rtrim", "trim", "typeof", "unhex", "unlikely", "upper", "zeroblob",
    }
)  # fmt: skip
"""Functions whose result is the same for the same arguments in all versions of SQLite. Those that
write a REAL as text, depend on the platform's mathematics or have limits of their own are left out:
a row costs little."""

_CLOCK = frozenset({"CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME"})
_NO_NAMES = frozenset("(),;=<>+-*/%&|~.!?:@#")
_BEFORE_PARENTHESES = frozenset(
    {
        "AND", "AS", "BETWEEN", "BY", "CASE", "CHECK", "CONFLICT", "DEFAULT", "DO", "ELSE",
        "ESCAPE", "EXISTS", "FROM", "IN", "IS", "KEY", "NOT", "NULL", "ON", "OR", "RETURNING",
        "SET", "THEN", "UNIQUE", "VALUES", "WHEN", "WHERE",
    }
)  # fmt: skip


def impure_call(name: str, applications: frozenset[str]) -> str | None:
    """Why a call of this function makes a result uncertain; None where it does not."""
    name = fold(name)
    if name in applications:
        return f"calls {name}(), which the application registered"
    if name not in PURE:
        return f"calls {name}(), whose result may differ on a replica"
    return None


def impurity(text: str, applications: frozenset[str]) -> str | None:
    """Why an expression may give something else on a replica; None where it cannot."""
    found = tokens(text)
    for reason in _impurities(found, applications):
        return reason
    return None


def _impurities(found: list[Token], applications: frozenset[str]) -> Iterator[str]:
    before = ""
    for token, following in pairwise([*found, Token("", 0, 0, 0)]):
        named, before = before == "INTO", token.word
        if token.word in _CLOCK:
            yield "reads the clock"
        elif token.word == "CAST" or (token.text == following.text == "|"):
            yield "may write a REAL as text, which versions of SQLite do differently"
        elif following.text == "(" and token.word not in _BEFORE_PARENTHESES:
            if named or token.text in _NO_NAMES:
                continue
            reason = impure_call(unquote(token.text), applications)
            if reason is not None:
                yield reason


def volatile_defaults(sql: str, applications: frozenset[str]) -> dict[str, str]:
    """Of a table's CREATE statement: the columns, folded, whose DEFAULT may differ, and why."""
    return dict(_volatile(sql, applications))


def _volatile(sql: str, applications: frozenset[str]) -> Iterable[tuple[str, str]]:
    for part in parts("table", sql):
        if part.place == "DEFAULT":
            reason = impurity(part.text, applications) or next(
                (reason for _, reason in part.reasons()), None
            )
            if reason is not None:
                yield fold(part.column), reason
