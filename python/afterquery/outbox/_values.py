"""Statements and their parameters as text, and back, with every value of SQLite exact.

JSON (RFC 8259): integers and finite floats as numbers, a float always with a point or an exponent;
`{"blob": hex}` for bytes and `{"real": "inf"}` for what JSON has no number for. Text is escaped to
ASCII, so that a NUL in it does not end it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from afterquery._binding import Adapted
from afterquery._failures import interrupted

Value: TypeAlias = "int | float | str | bytes | None"
Parameters: TypeAlias = "tuple[Value, ...] | dict[str, Value]"

_INTEGERS = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Statement:
    """One statement of a transaction, as `Transaction.after_query` takes it."""

    sql: str
    params: Parameters | tuple[Parameters, ...]
    """One set of parameters, or one for each row if `many`."""
    many: bool
    changes: int | None
    """The rows that it changed; None if that is not known."""
    error: str | None = None
    """Why its parameters could not be kept; they are empty then."""


def encode(statements: Iterable[Statement]) -> str:
    """The text of a transaction."""
    return json.dumps([_statement(one) for one in statements], separators=(",", ":"))


def decode(text: str) -> tuple[Statement, ...]:
    """The statements of a text that `encode` made; ValueError for any other."""
    try:
        return tuple(_decoded(*one) for one in json.loads(text))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the text of a transaction: {error}") from error


def kept(sql: str, params: Any, changes: int | None, *, many: bool) -> Statement:
    """A statement with its parameters as SQLite bound them. Raises nothing of ours."""
    try:
        values = tuple(_set(row) for row in params) if many else _set(params)
    except Exception as error:
        if interrupted(error):
            raise
        return Statement(sql, (), many, changes, f"parameters: {error}")
    return Statement(sql, values, many, changes)


def _set(params: Any) -> Parameters:
    if params is None:
        return ()
    if isinstance(params, Mapping):
        return dict(_named(params))
    return tuple(_basic(value) for value in params)


def _named(params: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    for name, value in params.items():
        # What SQLite cannot hold, a statement that ran did not ask for.
        with suppress(TypeError, OverflowError):
            yield name, _basic(value)


def _basic(value: Any) -> Value:
    """The value in a type that JSON tells from others; what it is was found before, by
    `afterquery._binding`."""
    if isinstance(value, Adapted):
        value = value.value
    kind = type(value)
    if value is None or kind is str or kind is bytes or kind is float:
        basic: Value = value
        return basic
    if kind is int or kind is bool:
        return _integer(int(value))
    return bytes(memoryview(value))


def _integer(value: int) -> int:
    if value not in _INTEGERS:
        raise OverflowError("SQLite's integers have 64 bits")
    return value


def _statement(one: Statement) -> list[Any]:
    rows = [_encoded(row) for row in one.params] if one.many else _encoded(one.params)  # type: ignore[arg-type]
    return [one.sql, rows, one.many, one.changes, one.error]


def _encoded(params: Parameters) -> Any:
    if isinstance(params, dict):
        return {name: _json(value) for name, value in params.items()}
    return [_json(value) for value in params]


def _json(value: Value) -> Any:
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": repr(value)}
    return value


def _decoded(
    sql: str, params: Any, many: bool, changes: int | None, error: str | None
) -> Statement:
    values = tuple(_parameters(row) for row in params) if many else _parameters(params)
    return Statement(sql, values, many, changes, error)


def _parameters(params: Any) -> Parameters:
    if isinstance(params, dict):
        return {name: _value(value) for name, value in params.items()}
    return tuple(_value(value) for value in params)


def _value(value: Any) -> Value:
    if isinstance(value, dict):
        return bytes.fromhex(value["blob"]) if "blob" in value else float(value["real"])
    found: Value = value
    return found
