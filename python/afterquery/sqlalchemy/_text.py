"""What a statement's first words say."""

from __future__ import annotations

import re
from typing import NamedTuple

from afterquery._core import classify
from afterquery._sql import BLANK, fold, keyword

_VERB = re.compile(BLANK + r"([A-Za-z]+)")


class Verb(NamedTuple):
    """The first word, in capitals, and where it stands; empty where there is none."""

    word: str
    start: int


def verb(sql: str) -> Verb:
    """The first word of a statement that is no comment."""
    found = _VERB.match(sql)
    return Verb(keyword(found[1]), found.start(1)) if found else Verb("", 0)


def savepoint(sql: str) -> str | None:
    """The savepoint that SAVEPOINT, RELEASE or ROLLBACK TO names, as SQLite compares it.

    None for a ROLLBACK of the whole transaction.
    """
    found = classify(sql).statements
    name = found[0].savepoint if found else None
    return None if name is None else fold(name)
