"""White space, names and letters as SQLite sees them.

What Python calls a space, a letter or another case is Unicode's: `str.strip()` would cut the end
off a name. `tests/sql/test_sql_text.py` looks that SQL is read with what is here, or by the core.
"""

from __future__ import annotations

import string

SPACE = r"(?:[ \t\n\f\r][ \t\n\v\f\r]*|\ufeff)"
"""A run of white space, as a regular expression. A vertical tab does not begin one."""

COMMENT = r"(?:--[^\n]*|/\*(?s:.*?)(?:\*/|\Z))"
"""A comment; one that is not closed runs to the end."""

BLANK = rf"(?:{SPACE}|{COMMENT})*"
"""What may stand between two tokens."""

NAME = r"[A-Za-z0-9_$\x80-\U0010ffff]"
"""A character of a name or a keyword."""

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)


def fold(name: str) -> str:
    """A name as SQLite compares it: ASCII letters without their case, all others as they are."""
    return name.translate(_LOWER)


def keyword(word: str) -> str:
    """A word in capitals, as a keyword is compared."""
    return word.translate(_UPPER)
