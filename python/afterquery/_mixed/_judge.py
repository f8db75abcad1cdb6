"""The verdict on a statement that changes rows.

A statement travels as it is only if what becomes of a row depends on that row, on constants and
parameters, and on nothing else. Whatever is not certain travels as rows: an image is never wrong.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from afterquery import classify
from afterquery._mixed._insert import Insert, Numbered, parameter, plain_places, read_insert
from afterquery._mixed._model import Model
from afterquery._mixed._pure import impure_call, impurity
from afterquery._mixed._shadow import WRITES, Access
from afterquery._mixed._signature import Settings
from afterquery._mixed._table import Table
from afterquery._mixed._verdict import Kind, Verdict
from afterquery._mixed._words import Token, tokens, unquote, words
from afterquery._sql import fold

_DIGITS = re.compile("[0-9]{1,18}")
EVENTS = {
    sqlite3.SQLITE_INSERT: "INSERT",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_DELETE: "DELETE",
}
"""What happens to a row."""
_SYSTEM = (None, "sqlite_master", "sqlite_temp_master")


def judge_rows(model: Model, settings: Settings, sql: str) -> Verdict:
    """How one statement, whose text this is, travels."""
    try:
        accesses = model.shadow.accesses(sql, settings)
    except (sqlite3.Error, sqlite3.Warning) as error:
        if "may not be modified" in str(error):
            return Verdict(Kind.LOST, "writes to a table of SQLite's own", sql)
        tables = tuple(one for one in model.tables() if one.key is not None)
        events = frozenset((one.name, event) for one in tables for event in EVENTS.values())
        unknown = f"cannot be understood ({error})"
        return Verdict(Kind.ROWS, unknown, sql, tables, events, replaces=True, keeps=True)
    effects = Effects(model, settings, sql, accesses)
    if not effects.main:
        return Verdict(Kind.OTHERS, "writes to temporary or attached tables alone", sql)
    if effects.virtual:
        return _of_virtual(effects)
    fed = next((one.name for one in effects.tables if one.fed), None)
    if fed is not None and effects.replaces and not settings.recursive_triggers:
        lost = f"replaces rows of {fed} and does not fire the trigger that keeps a virtual table"
        return replace(effects.rows(lost), lost=lost)
    reason = next(effects.uncertain(), None)
    if any(fold(name).startswith("sqlite_") for name in effects.main):
        return Verdict(Kind.LOST if reason else Kind.STATEMENT, reason or "", sql)
    unnamed = [table.name for table in effects.tables if table.key is None]
    if unnamed:
        return Verdict(Kind.LOST, f"changes {unnamed[0]}, whose rows nothing names", sql)
    insert = read_insert(sql)
    if insert is not None and effects.direct is not None and len(effects.tables) == 1:
        return _of_insert(effects, insert, effects.direct, reason)
    reason = reason or next(_of_many(effects, insert), None)
    return effects.rows(reason) if reason else Verdict(Kind.STATEMENT, "", sql, effects.tables)


def events_of(accesses: list[Access]) -> frozenset[tuple[str, str]]:
    """What happens to which table of the main database."""
    return frozenset(
        (one.first, EVENTS[one.action])
        for one in accesses
        if one.action in EVENTS and one.database == "main" and one.first
    )


class Effects:
    """What a statement does, and what in it is not certain."""

    def __init__(self, model: Model, settings: Settings, sql: str, accesses: list[Access]) -> None:
        # What triggers keep that a copy has too, happens there by itself.
        accesses = [one for one in accesses if not (one.by and fold(one.by) in model.feeding)]
        self.model, self.settings, self.sql, self.accesses = model, settings, sql, accesses
        self.words = words(sql)
        # The first use of a table-valued function declares it, as if it were made.
        writes = [one for one in accesses if one.action in WRITES and one.first not in _SYSTEM]
        self.first = next((one for one in writes if one.by is None), None)
        self.main = {one.first for one in writes if one.database == "main" and one.first}
        # SQLite itself counts ids there when rows are inserted, and takes no trigger.
        counted = self.first is not None and self.first.first == "sqlite_sequence"
        hidden = set() if counted else {"sqlite_sequence"}
        self.main = {name for name in self.main - hidden if not model.is_view(name)}
        found = [model.table(name) for name in sorted(self.main)]
        self.tables = tuple(one for one in found if one is not None and not one.virtual)
        self.virtual = any(one is not None and one.virtual for one in found)
        self.direct = None
        if self.first is not None and self.first.database == "main" and self.first.first:
            self.direct = model.table(self.first.first)

    def says(self, word: str) -> bool:
        """Whether it says so, or a table or trigger that it concerns."""
        texts = [table.sql for table in self.tables]
        texts += [
            trigger.sql
            for name in {one.by for one in self.accesses if one.by}
            if (trigger := self.model.trigger(name)) is not None
        ]
        return word in self.words or any(word in words(text) for text in texts)

    @property
    def replaces(self) -> bool:
        """Whether rows may be deleted to make room for others."""
        return self.says("REPLACE")

    def rows(self, reason: str) -> Verdict:
        """It travels as rows."""
        return Verdict(
            Kind.ROWS,
            reason,
            self.sql,
            self.tables,
            events_of(self.accesses),
            self.replaces,
            self.says("FAIL"),
        )

    def uncertain(self) -> Iterator[str]:
        """Why the statement might do something else on a replica, whatever its verb is."""
        yield from self._beside()
        yield from self._elsewhere()
        yield from self._computed()
        for statement in classify(self.sql).statements:
            yield from statement.reasons

    def _beside(self) -> Iterator[str]:
        """Effects that are not the statement's own."""
        if self.direct is None:
            yield "writes through a view or a temporary table's trigger"
        for access in self.accesses:
            if access.by is not None and self.model.trigger(access.by) is not None:
                yield f"fires the trigger {access.by}"
        if len(self.tables) > 1:
            names = [one.name for one in self.tables if one is not self.direct]
            yield f"changes {', '.join(names)} by foreign keys"
        writes = [one for one in self.accesses if one.action in WRITES]
        if self.settings.foreign_keys and self.direct is not None:
            changed = self.model.changed_with([self.direct.name])
            may_delete = self.replaces or sqlite3.SQLITE_DELETE in {one.action for one in writes}
            if fold(self.direct.name) in changed and may_delete:
                yield f"changes other rows of {self.direct.name} by foreign keys"

    def _elsewhere(self) -> Iterator[str]:
        """What it reads that is not the row in question."""
        if self.model.signature.encoding != "UTF-8":
            yield "compares texts in another encoding than a replica's"
        for word in ("SELECT", "WITH", "LIMIT"):
            if word in self.words:
                yield f"reads more than the row in question ({word})"
        if "FROM" in self.words and self.first and self.first.action == sqlite3.SQLITE_UPDATE:
            yield "reads more than the row in question (UPDATE … FROM)"
        found = tokens(self.sql)
        for token, following in pairwise(found):
            if token.word == "IN" and following.text != "(":
                yield "reads more than the row in question (IN a table)"
        yield from self._read()

    def _read(self) -> Iterator[str]:
        """What it reads of other tables; foreign keys only decide whether it succeeds."""
        if self.direct is None:
            return
        related = self.model.related(self.direct.name) if self.settings.foreign_keys else set()
        for access in self.accesses:
            if access.action != sqlite3.SQLITE_READ or not access.first:
                continue
            name = fold(access.first)
            if access.database != "main" or name not in {fold(self.direct.name), *related}:
                yield f"reads {access.first}"
            elif access.second == "ROWID" and self.direct.key and not self.direct.key.rowid:
                yield "reads the rowid, which may be another on a replica"

    def _computed(self) -> Iterator[str]:
        for access in self.accesses:
            if access.action == sqlite3.SQLITE_FUNCTION and access.second:
                reason = impure_call(access.second, self.model.applications)
                if reason is not None:
                    yield reason
        reason = (
            impurity(self.sql, frozenset()) if "CAST" in self.words or "|" in self.sql else None
        )
        if reason is not None:
            yield reason
        for token in tokens(self.sql):
            if token.text[0] == '"' and fold(unquote(token.text)) not in self.model.names:
                yield f"has the text {token.text} in double quotes, which a replica may refuse"
        if self.model.signature.collations and any(
            "COLLATE" in one for one in (self.words, *(table.words for table in self.tables))
        ):
            yield "compares by a collation that the application registered"


_LEFT = "where a value is refused, SQLite may leave the rows before it"


def _of_many(effects: Effects, insert: Insert | None) -> Iterator[str]:
    """What is not certain in an UPDATE or DELETE."""
    if insert is not None or effects.first is None or effects.direct is None:
        yield "is no INSERT of one table's rows"
        return
    if effects.first.action != sqlite3.SQLITE_UPDATE:
        return
    if effects.direct.strict:
        yield f"changes {effects.direct.name}, which is STRICT: {_LEFT}"
    if "OR" in effects.words and _conflict(effects.sql):
        yield "says what to do about conflicts, which depends on the order of the rows"
    if "CONFLICT" in effects.direct.words:
        yield f"changes {effects.direct.name}, which says what to do about conflicts"
    for access in effects.accesses:
        if access.action == sqlite3.SQLITE_UPDATE and access.second:
            name = fold(access.second)
            if name in effects.direct.unique_columns or name == "rowid":
                yield f"sets {access.second}, which is unique: the order of the rows decides"
    if any(unique.where or "(" in "".join(unique.old) for unique in effects.direct.uniques):
        yield f"changes {effects.direct.name}, which has a unique index of expressions"


def _conflict(sql: str) -> bool:
    return any(a.word == "UPDATE" and b.word == "OR" for a, b in pairwise(tokens(sql)))


def _of_insert(effects: Effects, insert: Insert, table: Table, reason: str | None) -> Verdict:
    """How an INSERT of VALUES into one table travels."""
    reason = reason or next(_defaults(insert, table), None)
    rows = effects.rows(reason or "inserts rows whose ids SQLite draws")
    skips = insert.conflict == "IGNORE" or "IGNORE" in table.words
    row = _row(effects, insert, table, rows, skips=skips)
    if reason is not None:
        return row
    if skips and "CHECK" in table.words:
        return replace(row, reason="may skip a row for a CHECK, which a replica has not")
    if not insert.one_row and (insert.conflict in {"FAIL", "ROLLBACK"} or "FAIL" in table.words):
        return replace(rows, reason="may stop half-way at a conflict")
    if not insert.one_row and table.strict:
        return replace(rows, reason=f"inserts into {table.name}, which is STRICT: {_LEFT}")
    statement = Verdict(Kind.STATEMENT, "", insert.sql, (table,))
    if table.key is None or not table.key.rowid:
        return statement
    return _of_drawn(insert, table, statement, row, skips=skips)


def _row(effects: Effects, insert: Insert, table: Table, rows: Verdict, *, skips: bool) -> Verdict:
    """As the one row, if it can be told which one that is; else as the rows that are captured."""
    alone = not any(effects._beside())
    if (
        not alone
        or not insert.one_row
        or insert.upsert
        or effects.replaces
        or table.key is None
        or not table.key.rowid
        or (skips and insert.returning)
    ):
        return rows
    return Verdict(Kind.ROW, rows.reason, insert.sql, (table,), may_skip=skips, otherwise=rows)


def _of_drawn(
    insert: Insert, table: Table, statement: Verdict, row: Verdict, *, skips: bool
) -> Verdict:
    """An INSERT into a table whose ids SQLite draws where none are given."""
    assert table.key is not None
    column = unquote(table.key.columns[0])
    given = [insert.value(table, number, column) for number in range(len(insert.rows))]
    if given and all(value is not None for value in given):
        ids = [parameter(insert.sql, value) for value in given if value]
        if all(_is_number(v) or p is not None for v, p in zip(given, ids, strict=True)):
            known = tuple(one for one in ids if one is not None)
            return replace(statement, ids=known, otherwise=row)
        return row
    places = plain_places(insert.sql)
    certain = insert.one_row or not (
        skips or insert.conflict == "REPLACE" or "REPLACE" in table.words
    )
    if (
        not insert.rows
        or insert.upsert
        or places is None
        or not certain
        or (skips and insert.returning)
    ):
        return row
    numbered = Numbered(insert, table, places, table.key.columns[0])
    return Verdict(
        Kind.NUMBERED,
        "has SQLite draw the id",
        numbered.sql,
        (table,),
        numbered=numbered,
        may_skip=skips,
        otherwise=row,
    )


def _is_number(value: tuple[Token, ...] | None) -> bool:
    """Whether a value is an integer as it stands in the text."""
    found = [token.text for token in value or ()]
    return bool(found) and _DIGITS.fullmatch(found[-1]) is not None and found[:-1] in ([], ["-"])


def _defaults(insert: Insert, table: Table) -> Iterator[str]:
    """DEFAULTs that it uses, or may use, and that may differ."""
    named = set(insert.columns or ())
    every = insert.columns is None and insert.rows
    replaces = insert.conflict == "REPLACE" or "REPLACE" in table.words
    for column, reason in table.volatile.items():
        if replaces or not (every or column in named):
            yield f"uses the DEFAULT of {column}, which {reason}"


def _of_virtual(effects: Effects) -> Verdict:
    """Virtual tables take no trigger: what is written to one travels as a statement."""
    reason = next(effects.uncertain(), None)
    lost = f"changes a virtual table, and {reason}" if reason else ""
    if effects.direct is not None and effects.direct.virtual and not effects.tables:
        return Verdict(Kind.STATEMENT, lost, effects.sql, lost=lost)
    lost = lost or "changes a virtual table beside others"
    return replace(effects.rows(lost), lost=lost)
