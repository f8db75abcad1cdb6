"""Values of columns, as they are noted in triggers, read back, and bound again."""

from __future__ import annotations

from typing import TypeAlias


class InvalidText(bytes):
    """A TEXT whose bytes are no UTF-8: no `str` can hold it."""


Value: TypeAlias = "int | float | str | bytes | None"
"""A stored value; an `InvalidText` is a text."""


def noted(column: str) -> str:
    """The expression by which a trigger notes a value of any type, so that what `sqlite3` makes of
    it can always be made: ASCII only, and with its type."""
    return (
        f"CASE typeof({column}) WHEN 'text' THEN 't' || hex({column})"
        f" WHEN 'blob' THEN 'b' || hex({column}) ELSE {column} END"
    )


def from_note(note: float | str | None, encoding: str) -> Value:
    """The value that was noted, in a database of this encoding."""
    if not isinstance(note, str):
        return note
    raw = bytes.fromhex(note[1:])
    if note[0] == "b":
        return raw
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return InvalidText(raw)


def placeholder(value: Value) -> str:
    """What stands for it in a text; its parameter is `bound`."""
    return "CAST(? AS TEXT)" if isinstance(value, InvalidText) else "?"


def bound(value: Value) -> Value:
    """The parameter."""
    return bytes(value) if isinstance(value, InvalidText) else value
