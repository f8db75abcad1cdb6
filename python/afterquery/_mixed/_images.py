"""The rows that were noted, read back, and as statements for a replica.

Rows that may collide with each other by a unique index are deleted before any of them is
inserted; else they take the place of what is there. So the end state is the primary's, whatever
the order was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from afterquery._mixed._notes import KeyValues, Notes
from afterquery._mixed._own import Own
from afterquery._mixed._table import Key, Table
from afterquery._mixed._values import InvalidText, Value, bound, placeholder, weight
from afterquery._mixed._words import quoted

Add = Callable[[str, tuple[Any, ...]], None]
"""Takes a statement for the replicas, and its parameters."""

_SIZES = (100, 30, 10, 3, 1)
"""How many rows a statement has: few different texts are planned once each."""
_BYTES = 60_000
"""About how long a statement's rows are at most; a single one may be longer."""


def send(own: Own, notes: Notes, add: Add) -> None:
    """Read the rows that were noted and add them. Raises `sqlite3.Error` where they cannot be
    read."""
    table = notes.table
    there, gone = notes.keys()
    apart = bool(table.uniques) and len(there) > 1
    if apart or table.fed:
        _delete(table, [*gone, *there], add)
        # Two keys may name one row: a trigger sees 0 where a column of TEXT then has '0'.
        sent: set[KeyValues] = set()
        for rows in _read(own, table, there):
            new = {key: row for key, row in rows if key not in sent}
            sent.update(new)
            _insert(table, list(new.values()), add, upsert=False)
        return
    _delete(table, gone, add)
    for rows in _read(own, table, there):
        found = {key for key, _ in rows}
        missing = [key for key in rows.asked if key not in found]
        _delete(table, missing, add)
        _insert(table, [row for _, row in rows], add, upsert=True)


def send_whole(own: Own, table: Table, add: Add) -> None:
    """Add all rows of a table, in the place of those that a replica has. Raises `sqlite3.Error`."""
    add(f"DELETE FROM {quoted(table.name)}", ())
    assert table.key is not None
    columns = ", ".join(f"+{name} AS a{n}" for n, name in enumerate(table.written))
    with own.quiet():
        rows = own.rows(f"SELECT {columns} FROM {table.target}")
    for start in range(0, len(rows), _SIZES[0]):
        _insert(table, rows[start : start + _SIZES[0]], add, upsert=False)


class _Chunk(list["tuple[KeyValues, tuple[Value, ...]]"]):
    """Rows with their keys, and the keys that were asked for."""

    asked: Sequence[KeyValues] = ()


def _read(own: Own, table: Table, keys: Sequence[KeyValues]) -> Iterator[_Chunk]:
    assert table.key is not None
    of_key = [f"+{name} AS k{n}" for n, name in enumerate(table.key.columns)]
    values = [f"+{name} AS a{n}" for n, name in enumerate(table.written)]
    count = len(of_key)
    for asked in _cut(keys, weight):
        where, parameters = _where(table.key, asked)
        rows = own.rows(
            f"SELECT {', '.join(of_key + values)} FROM {table.target} WHERE {where}", parameters
        )
        chunk = _Chunk((row[:count], row[count:]) for row in rows)
        chunk.asked = asked
        yield chunk


def _where(key: Key, keys: Sequence[KeyValues]) -> tuple[str, tuple[Any, ...]]:
    names = [f"{name}{coll}" for name, coll in zip(key.columns, key.collations, strict=True)]
    parameters = tuple(bound(value) for values in keys for value in values)
    if len(names) == 1:
        marks = [placeholder(values[0]) for values in keys]
        if len(marks) == 1:
            return f"{names[0]} = {marks[0]}", parameters
        return f"{names[0]} IN ({','.join(marks)})", parameters
    if len(keys) == 1:
        equal = [f"{n} = {placeholder(v)}" for n, v in zip(names, keys[0], strict=True)]
        return " AND ".join(equal), parameters
    rows = ",".join(f"({','.join(map(placeholder, values))})" for values in keys)
    return f"({','.join(names)}) IN (VALUES {rows})", parameters


def _delete(table: Table, keys: Sequence[KeyValues], add: Add) -> None:
    assert table.key is not None
    for some in _cut(keys, weight):
        where, parameters = _where(table.key, some)
        add(f"DELETE FROM {quoted(table.name)} WHERE {where}", parameters)


def _insert(table: Table, rows: Sequence[tuple[Value, ...]], add: Add, *, upsert: bool) -> None:
    head = f"INSERT INTO {quoted(table.name)} ({', '.join(table.written)}) VALUES "
    tail = _upsert(table) if upsert else ""
    for some in _cut(rows, weight):
        marks = ",".join(f"({','.join(map(placeholder, row))})" for row in some)
        add(head + marks + tail, tuple(bound(value) for row in some for value in row))


def _upsert(table: Table) -> str:
    assert table.key is not None
    # The rowid decides what row it is; other keys may be equal and yet not the same: 'a' and 'A'.
    fixed = set(table.key.columns) if table.key.rowid else set()
    names = [name for name in table.written if name not in fixed]
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    target = ", ".join(
        f"{n}{c}" for n, c in zip(table.key.columns, table.key.collations, strict=True)
    )
    return f" ON CONFLICT ({target}) DO {f'UPDATE SET {sets}' if sets else 'NOTHING'}"


def _cut(rows: Sequence[Any], measure: Callable[[Any], int]) -> Iterator[Sequence[Any]]:
    """Pieces of a few fixed sizes, none of them too long."""
    at = 0
    while at < len(rows):
        room, most = _BYTES, 0
        for row in rows[at : at + _SIZES[0]]:
            room -= measure(row)
            if room < 0 and most:
                break
            most += 1
        size = next(size for size in _SIZES if size <= most)
        yield rows[at : at + size]
        at += size


__all__ = ["Add", "InvalidText", "Iterable", "send", "send_whole"]
