"""Compare every row of every table: the type and the exact value of every column."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from afterquery._http import MAX_ANSWER_BYTES, Asker

Row = tuple[str, ...]
Query = Callable[[str], list[Row]]
DOUBLE = '"'
TIMEOUT = 30.0
SIZES = 1000
PAGE_BYTES = MAX_ANSWER_BYTES // 4
"""Of values, in one answer: as hexadecimal digits they take twice as much."""
ROW_BYTES = 40
"""What a value takes beside itself, at most."""
GROUP = 10
PIECE = 200_000
"""Bytes of a large value in one answer."""

TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " AND name NOT LIKE 'tmp\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\' ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replica is not the primary: a table, and the rows only one of them has."""

    replica: str
    table: str
    missing: tuple[Row, ...]
    extra: tuple[Row, ...]


def file_query(path: Path) -> Query:
    """Ask a SQLite file, while its owner goes on using it."""

    def query(sql: str) -> list[Row]:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return [tuple(row) for row in db.execute(sql)]

    return query


def http_query(url: str, token: str) -> Query:
    """Ask a replica over its own protocol."""
    return Asker(url, token, TIMEOUT, MAX_ANSWER_BYTES).ask


def tables(query: Query) -> list[str]:
    return [name for (name,) in query(TABLES)]


def rows(query: Query, table: str) -> Counter[Row]:
    """Every row, each column as its type and its exact value."""
    columns = [
        quoted(column, '"')
        for (column,) in query(f"SELECT name FROM pragma_table_info({quoted(table)})")
    ]
    found: Counter[Row] = Counter()
    for at, count, size in pages(query, table, columns):
        if size > PAGE_BYTES:
            found[large_row(query, table, columns, at)] += 1
            continue
        values = ", ".join(f"{exact(column)} AS c{n}" for n, column in enumerate(columns))
        page = query(f"SELECT {values} FROM {part(table, columns, at, count)}")
        found.update(tuple(map(same_digits, row)) for row in page)
    return found


def pages(query: Query, table: str, columns: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Where rows begin that fit into one answer, how many they are, and their bytes. A row that
    fits into none is a page of its own."""
    lengths = [f"coalesce(length(CAST({column} AS BLOB)), 0)" for column in columns]
    # In groups: the depth of an expression has a limit.
    groups = [lengths[begin : begin + GROUP] for begin in range(0, len(lengths), GROUP)]
    size = " + ".join(f"({' + '.join(group)})" for group in groups)
    at = first = held = 0
    while sizes := query(f"SELECT {size} AS n FROM {part(table, columns, at, SIZES)}"):
        for (number,) in sizes:
            needed = int(number) + ROW_BYTES * len(columns)
            if at > first and held + needed > PAGE_BYTES:
                yield first, at - first, held
                first, held = at, 0
            at, held = at + 1, held + needed
    if at > first:
        yield first, at - first, held


def part(table: str, columns: Sequence[str], at: int, count: int) -> str:
    """Some rows of a table, always in the same order."""
    order = ", ".join(f"{column} COLLATE BINARY, typeof({column})" for column in columns)
    return f"(SELECT * FROM {quoted(table, DOUBLE)} ORDER BY {order} LIMIT {count} OFFSET {at})"


def large_row(query: Query, table: str, columns: Sequence[str], at: int) -> Row:
    """One row, its large values in pieces."""
    source = part(table, columns, at, 1)
    values = []
    for column in columns:
        blob = f"CAST({column} AS BLOB)"
        length = f"coalesce(length({blob}), 0)"
        ((size, kind),) = query(f"SELECT {length} AS n, typeof({column}) AS k FROM {source}")
        if int(size) <= PAGE_BYTES // 4:
            ((value,),) = query(f"SELECT {exact(column)} AS v FROM {source}")
            values.append(same_digits(value))
            continue
        pieces = [
            query(f"SELECT hex(substr({blob}, {begin}, {PIECE})) AS v FROM {source}")
            for begin in range(1, int(size) + 1, PIECE)
        ]
        digits = "".join(value for ((value,),) in pieces)
        values.append(f"text {digits}" if kind == "text" else f"blob X'{digits}'")
    return tuple(values)


def exact(name: str) -> str:
    """`quote` stops at a NUL in a text, so texts are compared byte by byte."""
    kind = f"typeof({name})"
    return f"{kind} || ' ' || CASE {kind} WHEN 'text' THEN hex({name}) ELSE quote({name}) END"


def same_digits(value: str) -> str:
    """Versions of SQLite write the same float in different digits, and infinity as 9.0e+999."""
    kind, _, digits = value.partition(" ")
    return f"real {float(digits)!r}" if kind == "real" else value


def quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace(mark, mark * 2) + mark


def compare(primary: Query, replica: Query, name: str, *, whole: bool) -> list[Difference]:
    """`whole`: the replica has nothing else, so a table of its own is a difference too."""
    ours, theirs = tables(primary), tables(replica)
    found = []
    for table in sorted({*ours, *theirs} if whole else ours):
        expected = rows(primary, table) if table in ours else Counter()
        actual = rows(replica, table) if table in theirs else Counter()
        if expected != actual or (table in ours) != (table in theirs):
            missing, extra = expected - actual, actual - expected
            found.append(Difference(name, table, tuple(missing), tuple(extra)))
    return found


def with_files(primary: Path, replicas: Mapping[str, Path]) -> list[Difference]:
    """Replicas of our own: they hold what the primary holds and nothing else."""
    ours = file_query(primary)
    return [
        found
        for name, path in replicas.items()
        for found in compare(ours, file_query(path), name, whole=True)
    ]


def with_urls(primary: Path, replicas: Mapping[str, str], token: str) -> list[Difference]:
    ours = file_query(primary)
    return [
        found
        for name, url in replicas.items()
        for found in compare(ours, http_query(url, token), name, whole=False)
    ]


def counts(path: Path) -> dict[str, int]:
    """The rows of every table."""
    query = file_query(path)
    return {table: sum(rows(query, table).values()) for table in tables(query)}
