"""One import point for the splitter, so that everybody agrees on where a statement ends.

The pieces of a text concatenate back to it. Each ends right after its semicolon; the last may be
anything that has none: a statement, white space, a comment.
"""

from __future__ import annotations

import re

try:
    from afterquery._core import split_statements
except ImportError:
    from afterquery.peer._split import split_statements

__all__ = ["split", "split_statements"]

# What SQLite skips: its white space (not Python's), empty statements, comments.
_SKIPPED = re.compile(r"[ \t\n\f\r;]+|--[^\n]*|/\*(?:.*?\*/|.*)", re.DOTALL)
_WHITE_SPACE = " \t\n\f\r"


def split(text: str) -> tuple[list[str], bool]:
    """The statements of a text, and whether something that is no statement follows the last."""
    pieces = split_statements(text)
    while pieces and not pieces[-1].strip(_WHITE_SPACE):
        pieces.pop()
    if pieces and _is_nothing(pieces[-1]):
        pieces.pop()
        return pieces, True
    return pieces, not pieces


def _is_nothing(text: str) -> bool:
    # Step by step: as one pattern it would try every way to divide a row of dashes.
    at = 0
    while at < len(text):
        skipped = _SKIPPED.match(text, at)
        if skipped is None:
            return False
        at = skipped.end()
    return True
