"""A schema's SQL as tokens: as much as it takes to find the expressions in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from afterquery._sql import COMMENT, NAME, SPACE, keyword

_TOKEN = re.compile(
    rf"""(?P<space> {SPACE} | {COMMENT} )
    | '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]
    | {NAME}+ | .""",
    re.VERBOSE | re.DOTALL,
)
_CLOSE = {"[": "]"}


@dataclass(frozen=True)
class Token:
    """A token, where it stands, and in how many parentheses; a parenthesis is outside itself."""

    text: str
    start: int
    line: int
    depth: int

    @property
    def word(self) -> str:
        """In upper case, as keywords are compared."""
        return keyword(self.text)

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens(text: str) -> list[Token]:
    """The tokens of a text, without comments."""
    found = []
    line = depth = 0
    for match in _TOKEN.finditer(text):
        if match["space"] is None:
            depth -= match[0] == ")"
            found.append(Token(match[0], match.start(), line, depth))
            depth += match[0] == "("
        line += match[0].count("\n")
    return found


def unquote(name: str) -> str:
    """A name without its quotes."""
    if name[:1] not in tuple("'\"`["):
        return name
    close = _CLOSE.get(name[0], name[0])
    return name[1:-1].replace(close * 2, close)


def group(found: Sequence[Token], at: int) -> tuple[Token, Token] | None:
    """The first and last token of the parentheses that open at this index; None if none does."""
    if at >= len(found) or found[at].text != "(":
        return None
    opening = found[at]
    inside = range(at + 1, len(found))
    closing = next((i for i in inside if found[i].depth == opening.depth), None)
    return None if closing is None else (opening, found[closing])


def after(found: Sequence[Token], *words: str) -> Iterator[tuple[Token, Token]]:
    """Each of these words, with the token behind it."""
    for token, following in pairwise(found):
        if token.word in words:
            yield token, following
