"""The keys of rows that statements changed, as triggers note them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from afterquery._mixed._own import Own
from afterquery._mixed._table import Table
from afterquery._mixed._values import Value, from_note, noted

KeyValues = tuple[Value, ...]


class Notes:
    """Those of one table. What takes a note is implemented in C: no signal handler parts it from
    the change, and none of its errors reaches the user's statement."""

    def __init__(self, table: Table, number: int, encoding: str) -> None:
        assert table.key is not None
        self.table = table
        self.number = number
        self._key = table.key
        self._encoding = encoding
        self.there = _Keys(f"afterquery_there_{number}", len(table.key.columns))
        """Keys of rows that may be there afterwards."""
        self.gone = _Keys(f"afterquery_gone_{number}", len(table.key.columns))
        """Keys of rows that are gone, unless they are noted as there too."""

    def register(self, own: Own) -> None:
        """Register the functions that the triggers call."""
        for keys in (self.there, self.gone):
            for name, function in keys.functions:
                own.function(name, 1, function)

    def call(self, keys: _Keys, row: str) -> str:
        """The expressions by which a trigger notes the key of a row."""
        values = [f"{row}.{column}" for column in self._key.columns]
        if not self._key.rowid:
            values = [noted(value) for value in values]
        calls = zip(keys.functions, values, strict=True)
        return ", ".join(f"{name}({value})" for (name, _), value in calls)

    def inserted(self, rowid: int) -> None:
        """A row was inserted, as the cursor tells."""
        self.there.one.setdefault(rowid)

    def uncertain(self) -> None:
        """Rows noted as gone may be there after all: a statement was undone."""
        self.there.take(self.gone)
        self.gone.clear()

    def maybe(self, count: int) -> Iterator[list[KeyValues]]:
        """The keys of rows that may be there, so many at a time."""
        return _pieces(self._values(self.there), count)

    def lost(self, count: int) -> Iterator[list[KeyValues]]:
        """Those of rows that are gone."""
        if self._key.rowid:
            there = self.there.one
            return _pieces(((key,) for key in self.gone.one if key not in there), count)
        there = set(self._values(self.there))
        return _pieces((key for key in self._values(self.gone) if key not in there), count)

    def clear(self) -> None:
        """Forget all."""
        self.there.clear()
        self.gone.clear()

    def __bool__(self) -> bool:
        return bool(self.there.one or self.gone.one)

    def __len__(self) -> int:
        return len(self.there.one) + len(self.gone.one)

    def _values(self, keys: _Keys) -> Iterator[KeyValues]:
        """Each key once."""
        if self._key.rowid:
            return zip(keys.one, strict=True)
        decoded = (tuple(from_note(value, self._encoding) for value in row) for row in keys.rows())
        return iter(dict.fromkeys(decoded))


def _pieces(keys: Iterator[KeyValues], count: int) -> Iterator[list[KeyValues]]:
    while piece := list(islice(keys, count)):
        yield piece


class _Keys:
    """Keys in the order in which they were noted. A key of one column is kept once; of several
    columns, each has a list."""

    def __init__(self, name: str, count: int) -> None:
        self.one: Any = {}
        """All keys, or the first values of them."""
        self._columns: list[Any] = [self.one]
        take: list[Any] = [self.one.setdefault]
        if count > 1:
            self._columns = [[] for _ in range(count)]
            self.one = self._columns[0]
            take = [column.append for column in self._columns]
        self.functions = [(f"{name}_{at}", function) for at, function in enumerate(take)]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        return zip(*self._columns, strict=True)

    def take(self, others: _Keys) -> None:
        if isinstance(self.one, dict):
            self.one.update(others.one)
        else:
            for mine, column in zip(self._columns, others._columns, strict=True):
                mine.extend(column)

    def clear(self) -> None:
        for column in self._columns:
            column.clear()
