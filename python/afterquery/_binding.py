"""What `sqlite3` binds for each parameter: found once, for SQLite and for the replicas.

`sqlite3` calls an adapter where there is one, and binds what it gives; a value of another type
counts as the basic type that it derives from. The same is done here, before the statement runs, so
that every integration hands SQLite and the replicas one and the same value:
https://docs.python.org/3/library/sqlite3.html#how-to-adapt-custom-python-types-to-sqlite-values
"""

from __future__ import annotations

import datetime
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from afterquery._failures import interrupted
from afterquery._warning import deprecated

_BASIC = frozenset({int, float, str, bytes, bool, bytearray, memoryview, type(None)})
_DATES = {datetime.date: "date adapter", datetime.datetime: "datetime adapter"}
_DEFAULT_ADAPTERS = "sqlite3.dbapi2"
_DEPRECATED = (
    "The default {what} is deprecated as of Python 3.12; see the sqlite3 documentation for "
    "suggested replacement recipes"
)


class Plain:
    """The types that are bound as they are, looked up again when the adapters change."""

    def __init__(self) -> None:
        self._count = -1
        self._last: object = None
        self._types: frozenset[type] = frozenset()

    def types(self) -> frozenset[type]:
        adapters = sqlite3.adapters
        # One that is removed and another one that is registered leave the number as it was.
        last = next(reversed(adapters), None)
        if last is not self._last or len(adapters) != self._count:
            # First: what a signal handler's exception parts is done again.
            self._types = _BASIC - {kind for kind, _ in list(adapters)}
            self._count, self._last = len(adapters), last
        return self._types


_plain = Plain()


class Adapted:
    """A value that was adapted already, of a type that has an adapter again."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __conform__(self, protocol: object) -> Any:
        return self.value


class _Refused:
    """In the place of a value whose adapter raised: `sqlite3` raises it when it comes to it."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def throw(self) -> None:
        raise self.error


# Registered, because what __conform__ gives or raises is not always what an adapter may. In C: else
# a signal handler's exception may come between two rows of an `executemany`.
sqlite3.register_adapter(Adapted, attrgetter("value"))
sqlite3.register_adapter(_Refused, _Refused.throw)


class _Named(dict[str, Any]):
    """The values of a mapping that SQLite asks for: those that the statement names."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, name: str) -> Any:
        value = self[name] = _bound(self._source[name])
        return value


def bound(parameters: Any) -> Any:
    """The parameters of one execution, with each value as SQLite gets it; for `sqlite3` and for
    the replicas. Raises nothing of an adapter's: `sqlite3` raises it in its turn.

    Those of a mapping are the ones that the statement asked for, once it ran.
    """
    kind = type(parameters)
    if kind is tuple or kind is list:
        return parameters if _all_plain(parameters) else _sequence(parameters)
    if kind is dict and _all_plain(parameters.values()):
        return parameters
    if isinstance(parameters, dict):
        return _Named(parameters)
    if hasattr(parameters, "__getitem__") and hasattr(parameters, "__len__"):
        return _sequence(parameters)
    return parameters


def settled(values: Any) -> Any:
    """Values that SQLite got once already, for the replicas: no adapter is asked for them again."""
    if isinstance(values, dict):
        return {name: _settled(value) for name, value in values.items()}
    return tuple(_settled(value) for value in values)


def _settled(value: Any) -> Any:
    return value if type(value) in _plain.types() else Adapted(value)


def _sequence(parameters: Any) -> tuple[Any, ...]:
    return tuple(_item(parameters, at) for at in range(len(parameters)))


def _item(parameters: Any, at: int) -> Any:
    """One value; as `sqlite3` does, by its number: an adapter may change the sequence."""
    try:
        value = parameters[at]
    except Exception as error:
        if interrupted(error):
            raise
        return _Refused(error)
    return _bound(value)


def _all_plain(values: Iterable[Any]) -> bool:
    types = _plain.types()
    for value in values:  # noqa: SIM110 - a third of the time of all() with a generator
        if type(value) not in types:
            return False
    return True


def _bound(value: Any) -> Any:
    types = _plain.types()
    if type(value) in types:
        return value
    try:
        exact = _exact(_adapted(value))
    except Exception as error:
        if interrupted(error):
            raise
        return _Refused(error)
    return exact if type(exact) in types else Adapted(exact)


def _adapted(value: Any) -> Any:
    kind = type(value)
    adapter = sqlite3.adapters.get((kind, sqlite3.PrepareProtocol))
    if kind in _DATES and getattr(adapter, "__module__", None) == _DEFAULT_ADAPTERS:
        if sys.version_info >= (3, 12):
            # As the adapter does, which would take our file for the user's.
            deprecated(_DEPRECATED.format(what=_DATES[kind]))
        return value.isoformat() if kind is datetime.date else value.isoformat(" ")
    return sqlite3.adapt(value, sqlite3.PrepareProtocol, value)


def _exact(value: Any) -> Any:
    """The value of a basic type that `sqlite3` binds for it; itself where there is none."""
    if type(value) in _BASIC:
        return value
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    try:
        view = memoryview(value)
    except TypeError:
        return value
    return bytes(view) if view.c_contiguous else value


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
        given = bound(row)
        self.changes = self._connection.total_changes
        self.inside = self._connection.in_transaction
        self.ran = True
        self.seen.append(given)
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
