"""The keys of rows that statements changed, as triggers note them."""

from __future__ import annotations

from collections.abc import Iterator
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
        self._encoding = encoding
        self._count = len(table.key.columns)
        self._names = {
            kind: [f"afterquery_{kind}_{number}_{at}" for at in range(self._count)]
            for kind in ("there", "gone")
        }
        # A key of one column is kept once; of several columns, each has a list.
        self._one: dict[str, dict[Any, None]] = {"there": {}, "gone": {}}
        self._lists: dict[str, list[list[Any]]] = {
            kind: [[] for _ in range(self._count)] for kind in self._names
        }

    def register(self, own: Own) -> None:
        """Register the functions that the triggers call."""
        for kind, names in self._names.items():
            for at, name in enumerate(names):
                one = self._count == 1
                own.function(
                    name, 1, self._one[kind].setdefault if one else self._lists[kind][at].append
                )

    def call(self, kind: str, row: str) -> str:
        """The expressions by which a trigger notes the key of a row: `there` if it may be there
        afterwards, `gone` if it is gone unless it is noted as there too."""
        assert self.table.key is not None
        key = self.table.key
        values = [f"{row}.{column}" for column in key.columns]
        if not key.rowid:
            values = [noted(value) for value in values]
        return ", ".join(
            f"{name}({value})" for name, value in zip(self._names[kind], values, strict=True)
        )

    def inserted(self, rowid: int) -> None:
        """A row was inserted, as the cursor tells."""
        self._one["there"].setdefault(rowid)

    def uncertain(self) -> None:
        """Rows noted as gone may be there after all: a statement was undone."""
        for key in list(self._one["gone"]):
            self._one["there"].setdefault(key)
        for there, gone in zip(self._lists["there"], self._lists["gone"], strict=True):
            there.extend(gone)
        self._forget("gone")

    def keys(self) -> tuple[list[KeyValues], list[KeyValues]]:
        """Those of rows that may be there, and those of rows that are gone."""
        there = dict.fromkeys(self._of("there"))
        return list(there), [key for key in dict.fromkeys(self._of("gone")) if key not in there]

    def clear(self) -> None:
        """Forget all."""
        self._forget("there")
        self._forget("gone")

    def __len__(self) -> int:
        if self._count == 1:
            return len(self._one["there"]) + len(self._one["gone"])
        return len(self._lists["there"][0]) + len(self._lists["gone"][0])

    def _forget(self, kind: str) -> None:
        self._one[kind].clear()
        for one in self._lists[kind]:
            one.clear()

    def _of(self, kind: str) -> Iterator[KeyValues]:
        if self._count == 1:
            for key in self._one[kind]:
                yield (from_note(key, self._encoding),)
        else:
            for row in zip(*self._lists[kind], strict=True):
                yield tuple(from_note(value, self._encoding) for value in row)
