"""Values on their way in and out, with the losses StarbaseDB has in JavaScript."""

from __future__ import annotations

import math
from typing import Any

from afterquery.peer.errors import RequestError

_EXACT = 2**53
"""Above this a JavaScript number is no longer exact."""

Bound = str | float | None
"""What a JSON parameter can be once it is bound."""


def bind(values: list[Any]) -> list[Bound]:
    """JSON parameters as SQLite gets them: every number is a REAL, a boolean is its word."""
    return [_bind(number, value) for number, value in enumerate(values, 1)]


def _bind(number: int, value: object) -> Bound:
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _real(value)
    # StarbaseDB stores the words "[object Object]"; a replica must not.
    raise RequestError(
        500, f"parameter {number} is no string, number, boolean or null: SQLITE_MISMATCH"
    )


def _real(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def to_json(value: object) -> object:
    """A column's value as `JSON.stringify` would show it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else float(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    return {}
