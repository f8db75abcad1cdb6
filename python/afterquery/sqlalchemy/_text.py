"""What a statement's first words say."""

from __future__ import annotations

import re
from typing import NamedTuple

_LEAD = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_VERB = re.compile(_LEAD + r"([A-Za-z]+)", re.DOTALL)
_SAVEPOINT = re.compile(
    _LEAD + r"(?:SAVEPOINT|RELEASE(?:\s+SAVEPOINT)?"
    r"|ROLLBACK(?:\s+TRANSACTION)?\s+TO(?:\s+SAVEPOINT)?)\s+"
    r"""("(?:[^"]|"")*"|`(?:[^`]|``)*`|'(?:[^']|'')*'|\[[^\]]*\]|[\w$]+)""",
    re.DOTALL | re.IGNORECASE,
)


class Verb(NamedTuple):
    """The first word, in capitals, and where it stands; empty where there is none."""

    word: str
    start: int


def verb(sql: str) -> Verb:
    """The first word of a statement that is no comment."""
    found = _VERB.match(sql)
    return Verb(found[1].upper(), found.start(1)) if found else Verb("", 0)


def savepoint(sql: str) -> str | None:
    """The savepoint that SAVEPOINT, RELEASE or ROLLBACK TO names, as SQLite compares it.

    None for a ROLLBACK of the whole transaction.
    """
    found = _SAVEPOINT.match(sql)
    if found is None:
        return None
    name = found[1]
    quote = name[0]
    if quote == "[":
        name = name[1:-1]
    elif quote in "\"'`":
        name = name[1:-1].replace(quote * 2, quote)
    return name.encode().lower().decode()  # SQLite folds ASCII letters only
