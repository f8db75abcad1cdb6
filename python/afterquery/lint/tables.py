"""What an object is: its name, columns, key, foreign keys and kind, and the database as a whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from afterquery._sql import fold
from afterquery.lint.finding import Finding
from afterquery.lint.schema import Object, Schema
from afterquery.lint.tokens import after, tokens, unquote
from afterquery.peer.allowed import LIMITS, MODULES

_MAX_COLUMNS = LIMITS["SQLITE_LIMIT_COLUMN"]


def whole(schema: Schema) -> Iterator[Finding]:
    """What concerns the database itself."""
    ((encoding,),) = schema.connection.execute("PRAGMA encoding")
    if encoding != "UTF-8":
        yield Finding(
            "database",
            1,
            f"its encoding is {encoding}, a replica's is UTF-8: hex(), length() of a blob made from"
            " text, and the order of texts outside of the basic plane differ",
            "copy it into a database made with PRAGMA encoding = 'UTF-8'",
        )


def object_findings(schema: Schema, item: Object) -> Iterator[Finding]:
    """What concerns one object, but for what it computes."""
    yield from _name(item)
    if item.kind != "table":
        return
    if item.virtual:
        yield from _module(item)
        return
    yield from _columns(schema.connection, item)
    yield from _foreign_keys(schema.connection, item)


def _name(item: Object) -> Iterator[Finding]:
    name = fold(item.name)
    if name.startswith("_cf_"):
        what = "a replica refuses names that start with _cf_"
    elif name.startswith("tmp_") and item.kind in ("table", "view"):
        what = "names that start with tmp_ are for StarbaseDB's own tables and for afterquery's"
    else:
        return
    yield Finding(item.title, item.line, what, "rename it")


def _module(item: Object) -> Iterator[Finding]:
    for token, following in after(tokens(item.sql), "USING"):
        module = fold(unquote(following.text))
        if module not in MODULES:
            yield Finding(
                item.title,
                item.line + token.line,
                f"a replica has no virtual tables of the kind {module}",
                f"use one of {', '.join(sorted(MODULES))}, or leave it out of tables=",
            )
        return


def _columns(connection: sqlite3.Connection, item: Object) -> Iterator[Finding]:
    columns = connection.execute(
        "SELECT name, pk FROM pragma_table_xinfo(?)", (item.name,)
    ).fetchall()
    if len(columns) > _MAX_COLUMNS:
        yield Finding(
            item.title,
            item.line,
            f"it has {len(columns)} columns; a replica takes {_MAX_COLUMNS}",
            "move some to a second table with the same key",
        )
    unique = connection.execute(
        'SELECT count(*) FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (item.name,)
    ).fetchone()[0]
    if not unique and not any(pk for _, pk in columns):
        yield Finding(
            item.title,
            item.line,
            'it has no key that names a row: with nondeterministic="rows" its writes are rejected',
            "declare a PRIMARY KEY, or a UNIQUE constraint on columns that are NOT NULL",
        )


def _foreign_keys(connection: sqlite3.Connection, item: Object) -> Iterator[Finding]:
    declared = connection.execute(
        'SELECT DISTINCT "table" FROM pragma_foreign_key_list(?) ORDER BY id DESC', (item.name,)
    ).fetchall()
    if not declared:
        return
    line = next((t.line for t in tokens(item.sql) if t.word == "REFERENCES"), 0)
    parents = ", ".join(parent for (parent,) in declared)
    yield Finding(
        item.title,
        item.line + line,
        f"foreign keys (to {parents}) are on in a replica, and off in Python's sqlite3 by default",
        "run PRAGMA foreign_keys = ON on every connection of the application",
    )
    for what in _violations(connection, item.name):
        yield Finding(item.title, item.line + line, what, "mend the rows before copying them")


def _violations(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    try:
        found = connection.execute(
            "SELECT parent, count(*) FROM pragma_foreign_key_check(?) GROUP BY parent", (table,)
        ).fetchall()
    except sqlite3.OperationalError as error:
        yield f"its foreign keys cannot be checked, and writes to it fail on a replica: {error}"
        return
    for parent, count in found:
        yield f"{count} rows refer to rows that are not in {parent}"
