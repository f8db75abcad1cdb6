"""The rows that were noted, read back, and as statements for a replica.

Rows that may collide with each other by a unique index are deleted before any of them is
inserted; else they take the place of what is there. So the end state is the primary's, whatever
the order was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from afterquery._mixed._notes import KeyValues, Notes
from afterquery._mixed._own import Own
from afterquery._mixed._table import Table
from afterquery._mixed._texts import Texts, texts
from afterquery._mixed._values import InvalidText, Value

Add = Callable[[str, tuple[Any, ...]], None]
"""Takes a statement for the replicas, and its parameters."""
Row = tuple[Value, ...]

_SIZES = (100, 30, 10, 3, 1)
"""How many rows a statement has: few different texts are planned once each."""
_MOST = _SIZES[0]
_BYTES = 60_000
"""About how long a statement's rows are at most; a single one may be longer."""
_SHORT = frozenset({int, float, type(None)})


def send(own: Own, notes: Notes, add: Add) -> None:
    """Read the rows that were noted and add them. Raises `sqlite3.Error` where they cannot be
    read."""
    table, of = notes.table, texts(notes.table)
    for gone in notes.lost(_MOST):
        _delete(of, gone, add)
    if table.fed or (table.uniques and len(notes.there.one) > 1):
        _apart(own, notes, of, add)
        return
    for piece in notes.maybe(_MOST):
        for asked in _cut(piece):
            rows = _read(own, of, asked)
            found = {row[: of.width] for row in rows}
            if len(found) < len(asked) or not of.exact:
                _delete(of, [key for key in asked if key not in found], add)
            _insert(of, rows, add, upsert=True)


def _apart(own: Own, notes: Notes, of: Texts, add: Add) -> None:
    """First all are deleted, then those that are there are inserted."""
    for piece in notes.maybe(_MOST):
        _delete(of, piece, add)
    # Two keys may name one row: a trigger sees 0 where a column of TEXT then has '0'.
    sent: set[Row] = set()
    for piece in notes.maybe(_MOST):
        for asked in _cut(piece):
            new = {row[: of.width]: row for row in _read(own, of, asked)}
            _insert(of, [row for key, row in new.items() if key not in sent], add, upsert=False)
            if not of.exact:
                sent.update(new)


def send_whole(own: Own, table: Table, add: Add) -> None:
    """Add all rows of a table, in the place of those that a replica has. Raises `sqlite3.Error`."""
    of = texts(table)
    add(of.delete_all, ())
    for rows in own.pieces(of.select_all, _MOST):
        _insert(of, rows, add, upsert=False)


def _read(own: Own, of: Texts, keys: Sequence[KeyValues]) -> list[Row]:
    """The rows with these keys, each behind its key."""
    text, parameters = of.select(keys)
    return own.rows(text, parameters)


def _delete(of: Texts, keys: Sequence[KeyValues], add: Add) -> None:
    for some in _cut(keys):
        add(*of.delete(some))


def _insert(of: Texts, rows: Sequence[Row], add: Add, *, upsert: bool) -> None:
    """Rows behind their keys."""
    without = [row[of.width :] for row in rows]
    for some in _cut(without):
        add(*of.insert(some, upsert=upsert))


def _cut(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Pieces of a few fixed sizes, none of them too long."""
    at = 0
    while at < len(rows):
        some = rows[at : at + _SIZES[0]]
        most = _fitting(some)
        size = next(size for size in _SIZES if size <= most)
        yield some[:size]
        at += size


def _fitting(rows: Sequence[Row]) -> int:
    """How many of these rows make a statement; one at least."""
    values = [value for row in rows for value in row]
    if _SHORT.issuperset(map(type, values)) or _weight(values) < _BYTES:
        return len(rows)
    room, count = _BYTES, 0
    for row in rows:
        room -= _weight(row)
        if room < 0 and count:
            break
        count += 1
    return count


def _weight(values: Sequence[Value]) -> int:
    """About how many bytes their literals take."""
    return sum(
        len(value) * 2 if isinstance(value, bytes) else len(value) if isinstance(value, str) else 12
        for value in values
    )


__all__ = ["Add", "InvalidText", "send", "send_whole"]
