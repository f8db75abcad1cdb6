"""Compare every row of every table: the type and the exact value of every column."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import httpx

Row = tuple[str, ...]
Query = Callable[[str], list[Row]]
PAGE = 100

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

    def query(sql: str) -> list[Row]:
        answer = httpx.post(
            f"{url.rstrip('/')}/query",
            json={"sql": sql},
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        answer.raise_for_status()
        return [tuple(row.values()) for row in answer.json()["result"]]

    return query


def tables(query: Query) -> list[str]:
    return [name for (name,) in query(TABLES)]


def rows(query: Query, table: str) -> Counter[Row]:
    """Every row, each column as its type and its exact value."""
    name = quoted(table, '"')
    columns = [
        column for (column,) in query(f"SELECT name FROM pragma_table_info({quoted(table)})")
    ]
    values = ", ".join(f"{exact(column)} AS c{n}" for n, column in enumerate(columns))
    order = ", ".join(str(n + 1) for n in range(len(columns)))
    pages: list[list[Row]] = []
    while not pages or len(pages[-1]) == PAGE:
        page = f"LIMIT {PAGE} OFFSET {len(pages) * PAGE}"
        pages.append(query(f"SELECT {values} FROM {name} ORDER BY {order} {page}"))
    return Counter(tuple(map(same_digits, row)) for row in chain.from_iterable(pages))


def exact(column: str) -> str:
    """`quote` stops at a NUL in a text, so texts are compared byte by byte."""
    name = quoted(column, '"')
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
