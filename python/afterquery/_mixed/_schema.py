"""The verdict on a statement that changes the schema."""

from __future__ import annotations

import sqlite3

from afterquery._core import Statement
from afterquery._mixed._ddl import fit_for_copy
from afterquery._mixed._feeding import feeds
from afterquery._mixed._judge import events_of
from afterquery._mixed._model import Model
from afterquery._mixed._shadow import WRITES, Access
from afterquery._mixed._signature import Settings
from afterquery._mixed._verdict import Kind, Verdict
from afterquery._mixed._words import tokens, unquote
from afterquery._sql import fold

_TEMPORARY = frozenset({"TEMP", "TEMPORARY"})
_SCHEMA = frozenset({"sqlite_master", "sqlite_temp_master"})


def judge_schema(model: Model, settings: Settings, sql: str, statement: Statement) -> Verdict:
    """How it travels."""
    try:
        accesses = model.shadow.accesses(sql, settings)
    except (sqlite3.Error, sqlite3.Warning):
        accesses = []  # it will fail, or nothing is known of what it is about
    if not _is_main(accesses, sql, statement):
        return Verdict(Kind.OTHERS, "changes the schema of another database than main", sql)
    feeding = _trigger(model, statement, sql)
    text = sql if feeding else fit_for_copy(sql)
    if text is None:
        return Verdict(Kind.SCHEMA, "is about a trigger, and a copy has none", "")
    if _selects(accesses, statement):
        return Verdict(
            Kind.SCHEMA,
            "fills the table that it makes: its columns and its rows travel",
            "",
            filled=statement.table or "",
        )
    if statement.verb == "ALTER":
        return Verdict(Kind.SCHEMA, "", text, views=tuple(name for name, _ in model.views))
    dropped = {fold(one.first) for one in accesses if one.action == _DROP and one.first}
    changed = {
        one.first
        for one in accesses
        if one.action in WRITES
        and one.database == "main"
        and one.first
        and not fold(one.first).startswith("sqlite_")
    }
    found = [model.table(name) for name in sorted(changed)]
    tables = tuple(
        one
        for one in found
        if one is not None and not one.virtual and one.key and fold(one.name) not in dropped
    )
    reason = f"deletes rows of {', '.join(one.name for one in tables)} by foreign keys"
    return Verdict(Kind.SCHEMA, reason if tables else "", text, tables, events_of(accesses))


def _trigger(model: Model, statement: Statement, sql: str) -> bool:
    """Whether it makes or drops a trigger that a copy has too."""
    found = [token.word for token in tokens(sql)[:4]]
    if "TRIGGER" not in found:
        return False
    if statement.verb == "CREATE":
        return feeds(sql, model.virtual, model.applications)
    return any(fold(unquote(token.text)) in model.feeding for token in tokens(sql)[2:])


_DROP = sqlite3.SQLITE_DROP_TABLE


def _is_main(accesses: list[Access], sql: str, statement: Statement) -> bool:
    schema = fold(statement.schema) if statement.schema else None
    if schema is not None:
        return schema == "main"
    if any(token.word in _TEMPORARY for token in tokens(sql)[1:2]):
        return False
    for one in accesses:
        if one.action == sqlite3.SQLITE_ALTER_TABLE:
            return one.first == "main"
        if one.action in WRITES and one.first in _SCHEMA:
            return one.database == "main"
    return True


def _selects(accesses: list[Access], statement: Statement) -> bool:
    makes = {one.action for one in accesses}
    return (
        sqlite3.SQLITE_CREATE_TABLE in makes
        and statement.verb == "CREATE"
        and any(one.action == sqlite3.SQLITE_SELECT for one in accesses)
    )
