"""Parameters as SQLite gets them: adapted once, and the same values for the replicas."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from afterquery._failures import interrupted

_BASIC = frozenset({int, float, str, bytes, bool, bytearray, memoryview, type(None)})
_ADAPTED_BY_CORE = frozenset({datetime.date, datetime.datetime})
_DEFAULT_ADAPTERS = "sqlite3.dbapi2"


class Plain:
    """The types that are bound as they are, adapters looked up again when their number changes."""

    def __init__(self) -> None:
        self._seen = -1
        self._types: frozenset[type] = frozenset()

    def types(self) -> frozenset[type]:
        adapters = sqlite3.adapters
        if len(adapters) != self._seen:
            self._seen = len(adapters)
            self._types = _BASIC - {kind for kind, _ in list(adapters)}
        return self._types


_plain = Plain()


class _Bound:
    """A value that an adapter has made already: SQLite takes it as it is."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __conform__(self, protocol: object) -> Any:
        return self.value


class _Named(dict[str, Any]):
    """A dict of the user's own class, asked once for each name that SQLite looks for."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.source = source
        self.values_seen: dict[str, Any] = {}

    def __missing__(self, name: str) -> Any:
        self[name], self.values_seen[name] = _pair(self.source[name])
        return self[name]


class Rows:
    """Rows for `executemany`, read once, and as they are replicated."""

    def __init__(self, connection: sqlite3.Connection, rows: Iterable[Any]) -> None:
        self.seen: list[Any] = []
        """Those that ran, or run, since they were taken last."""
        self.taken = False
        self.ran = False
        """Whether the last one was handed to SQLite."""
        self.changes = 0
        """The connection's `total_changes` before it."""
        self.inside = False
        """Whether a transaction was open then."""
        self._connection = connection
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.ran = False
        self.keep_last()
        row = next(self._rows)
        try:
            given, seen = bound(row)
        except Exception as error:  # sqlite3 gets the same error from the same adapter
            if interrupted(error):
                raise
            given = seen = row
        self.changes = self._connection.total_changes
        self.inside = self._connection.in_transaction
        self.ran = True
        self.seen.append(seen)
        return given

    def keep_last(self) -> None:
        """Before the user's generator goes on: it may fill the same object again."""
        if self.seen:
            self.seen[-1] = _kept(self.seen[-1])


def _kept(row: Any) -> Any:
    if isinstance(row, dict):
        return {name: _kept_value(value) for name, value in row.items()}
    return tuple(map(_kept_value, row)) if isinstance(row, (list, tuple)) else row


def _kept_value(value: Any) -> Any:
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def bound(parameters: Any) -> tuple[Any, Any]:
    """The parameters to run a statement with, and those to replicate it with afterwards.

    Raises whatever an adapter of the user's raises.
    """
    kind = type(parameters)
    if kind is tuple or kind is list:
        return (parameters, parameters) if _all_plain(parameters) else _positional(parameters)
    if kind is dict:
        if _all_plain(parameters.values()):
            return parameters, parameters
        pairs = {name: _pair(value) for name, value in parameters.items()}
        return {n: pair[0] for n, pair in pairs.items()}, {n: pair[1] for n, pair in pairs.items()}
    if isinstance(parameters, dict):
        named = _Named(parameters)
        return named, named.values_seen
    if hasattr(parameters, "__getitem__") and hasattr(parameters, "__len__"):
        return _positional([parameters[at] for at in range(len(parameters))])
    return parameters, parameters


def _all_plain(values: Iterable[Any]) -> bool:
    types = _plain.types()
    for value in values:  # noqa: SIM110 - a third of the time of all() with a generator
        if type(value) not in types:
            return False
    return True


def _positional(values: Iterable[Any]) -> tuple[Any, Any]:
    pairs = [_pair(value) for value in values]
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def _pair(value: Any) -> tuple[Any, Any]:
    kind = type(value)
    if kind in _plain.types() or (kind in _ADAPTED_BY_CORE and _has_default_adapter(kind)):
        return value, value
    adapted = sqlite3.adapt(value, sqlite3.PrepareProtocol, value)
    return (value, value) if adapted is value else (_Bound(adapted), adapted)


def _has_default_adapter(kind: type) -> bool:
    adapter = sqlite3.adapters.get((kind, sqlite3.PrepareProtocol))
    return getattr(adapter, "__module__", None) == _DEFAULT_ADAPTERS
