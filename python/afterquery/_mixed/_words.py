"""Names in SQL, and the tokens of a text as far as verdicts need them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from afterquery.lint.tokens import Token, tokens, unquote

__all__ = ["Token", "quoted", "split", "tokens", "unquote", "words"]

_QUOTES = tuple("'\"`[")


def quoted(name: str) -> str:
    """A name in quotes, as an identifier."""
    return '"' + name.replace('"', '""') + '"'


@lru_cache(maxsize=256)
def words(text: str) -> frozenset[str]:
    """The words of a text in capitals; what is in quotes is none."""
    return frozenset(token.word for token in tokens(text) if not token.text.startswith(_QUOTES))


def split(found: Sequence[Token]) -> list[list[Token]]:
    """What stands between the commas that are in no parentheses of their own."""
    if not found:
        return []
    depth = found[0].depth
    parts: list[list[Token]] = [[]]
    for token in found:
        if token.text == "," and token.depth == depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
