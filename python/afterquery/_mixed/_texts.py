"""The statements about the rows of one table, each text made once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from afterquery._mixed._table import Table
from afterquery._mixed._values import InvalidText, bound, placeholder
from afterquery._mixed._words import quoted

Given = tuple[str, tuple[Any, ...]]
"""A text and its parameters."""


class Texts:
    """Those of one table."""

    def __init__(self, table: Table) -> None:
        assert table.key is not None
        key, name = table.key, quoted(table.name)
        self.width = len(key.columns)
        """How many columns the key has."""
        self.exact = key.rowid
        """Whether keys that name one row are the same: not where 'a' names 'A'."""
        self._names = [n + c for n, c in zip(key.columns, key.collations, strict=True)]
        read = [f"+{column} AS k{n}" for n, column in enumerate(key.columns)]
        read += [f"+{column} AS a{n}" for n, column in enumerate(table.written)]
        self.select_all = f"SELECT {', '.join(read)} FROM {table.target}"
        self.delete_all = f"DELETE FROM {name}"
        self._insert = f"INSERT INTO {name} ({', '.join(table.written)}) VALUES "
        self._upsert = f" ON CONFLICT ({', '.join(self._names)}) DO {_update(table)}"
        self._where: dict[int, str] = {}
        self._rows: dict[int, str] = {}

    def select(self, keys: Sequence[tuple[Any, ...]]) -> Given:
        """Reads the rows with these keys."""
        where, parameters = self._of(keys)
        return f"{self.select_all} WHERE {where}", parameters

    def delete(self, keys: Sequence[tuple[Any, ...]]) -> Given:
        """Deletes them."""
        where, parameters = self._of(keys)
        return f"{self.delete_all} WHERE {where}", parameters

    def insert(self, rows: Sequence[tuple[Any, ...]], *, upsert: bool) -> Given:
        """Inserts these rows, or puts them in the place of those with their keys."""
        values = tuple(chain.from_iterable(rows))
        tail = self._upsert if upsert else ""
        if InvalidText in map(type, values):
            return self._insert + _marks(rows) + tail, tuple(map(bound, values))
        text = self._rows.get(len(rows))
        if text is None:
            text = self._rows[len(rows)] = self._insert + _marks(rows)
        return text + tail, values

    def _of(self, keys: Sequence[tuple[Any, ...]]) -> Given:
        values = tuple(chain.from_iterable(keys))
        if InvalidText in map(type, values):
            return self._condition(keys), tuple(map(bound, values))
        text = self._where.get(len(keys))
        if text is None:
            text = self._where[len(keys)] = self._condition(keys)
        return text, values

    def _condition(self, keys: Sequence[tuple[Any, ...]]) -> str:
        if len(keys) == 1:
            equal = zip(self._names, keys[0], strict=True)
            return " AND ".join(f"{name} = {placeholder(value)}" for name, value in equal)
        if len(self._names) == 1:
            return f"{self._names[0]} IN ({','.join(placeholder(value) for (value,) in keys)})"
        return f"({','.join(self._names)}) IN (VALUES {_marks(keys)})"


texts = lru_cache(maxsize=1_024)(Texts)


def _marks(rows: Sequence[tuple[Any, ...]]) -> str:
    return ",".join(f"({','.join(map(placeholder, row))})" for row in rows)


def _update(table: Table) -> str:
    assert table.key is not None
    # The rowid decides what row it is; other keys may be equal and yet not the same: 'a' and 'A'.
    fixed = set(table.key.columns) if table.key.rowid else set()
    sets = [f"{name} = excluded.{name}" for name in table.written if name not in fixed]
    return f"UPDATE SET {', '.join(sets)}" if sets else "NOTHING"
