"""A text as its statements, and what comes after the last of them."""

from __future__ import annotations

import re

from afterquery._core import split_statements
from afterquery._sql import COMMENT, SPACE

__all__ = ["split"]

_SPACED = re.compile(SPACE)
_SKIPPED = re.compile(rf"{SPACE}|{COMMENT}")


def split(text: str) -> tuple[list[str], bool]:
    """The statements, and whether something that is none follows the last one's semicolon.

    That is a comment or another semicolon; the engine takes it for a statement that is missing.
    """
    statements = split_statements(text)
    if not statements:
        return [], True
    return statements, _goes_on(_tail(text, statements))


def _tail(text: str, statements: list[str]) -> str:
    """What follows the last statement."""
    if "--" not in text and "/*" not in text:
        # Without comments nothing after it can look like it.
        return text[text.rindex(statements[-1]) + len(statements[-1]) :]
    at = 0
    for statement in statements:
        # Between two statements there is nothing but what SQLite skips.
        while at < len(text) and not text.startswith(statement, at):
            at = _skip(text, at)
        at += len(statement)
    return text[at:]


def _goes_on(tail: str) -> bool:
    at = 0
    ended = False
    while at < len(tail):
        if ended and not _SPACED.match(tail, at):
            return True
        ended = ended or tail[at] == ";"
        at = _skip(tail, at)
    return False


def _skip(text: str, at: int) -> int:
    """Where the piece that starts here ends; it is white space, a comment or a semicolon."""
    skipped = _SKIPPED.match(text, at)
    return at + 1 if skipped is None else skipped.end()
