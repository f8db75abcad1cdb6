"""What StarbaseDB's storage engine refuses, refused here by SQLite's own authorizer.

It is asked while SQLite compiles a statement, so no spelling gets around it.
"""

from __future__ import annotations

import sqlite3

_TRANSACTION = frozenset({sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT})

_NEVER = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_CREATE_TEMP_INDEX,
        sqlite3.SQLITE_CREATE_TEMP_TABLE,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    }
)

_MODULES = frozenset({"fts5", "fts5vocab", "rtree", "rtree_i32"})

_FUNCTIONS = frozenset(
    "ceiling fts3_tokenizer fts5 fts5_source_id load_extension log10 power rtreedepth rtreenode"
    " soundex sqlite_compileoption_get sqlite_compileoption_used sqlite_log sqlite_offset"
    " sqlite_source_id sqlite_version subtype".split()
)

_PRAGMAS = frozenset(
    "case_sensitive_like data_version defer_foreign_keys foreign_key_check foreign_key_list"
    " foreign_keys ignore_check_constraints index_info index_list index_xinfo legacy_alter_table"
    " optimize page_size quick_check recursive_triggers reverse_unordered_selects table_info"
    " table_list table_xinfo".split()
)
_PRAGMAS_READ_ONLY = frozenset({"data_version", "page_size"})

# What SQLite bounds there; Python can set it from 3.11 on.
_LIMITS = {
    "SQLITE_LIMIT_COLUMN": 100,
    "SQLITE_LIMIT_EXPR_DEPTH": 100,
    "SQLITE_LIMIT_COMPOUND_SELECT": 5,
    "SQLITE_LIMIT_ATTACHED": 0,
    "SQLITE_LIMIT_LIKE_PATTERN_LENGTH": 50,
    "SQLITE_LIMIT_VARIABLE_NUMBER": 100,
    "SQLITE_LIMIT_TRIGGER_DEPTH": 10,
}

MAX_PARAMETERS = _LIMITS["SQLITE_LIMIT_VARIABLE_NUMBER"]


class Guard:
    """The authorizer of one connection, used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.own = True
        """The statement is the peer's own; otherwise it came in a request."""
        self.refused_transaction = False
        """A statement of the text wanted to begin or end a transaction."""
        self._text = ""
        if hasattr(connection, "setlimit"):
            for name, value in _LIMITS.items():
                connection.setlimit(getattr(sqlite3, name), value)
        connection.set_authorizer(self._authorize)

    def watch(self, text: str) -> None:
        """From here to the next `own = True` the statements are those of a request."""
        self._text = text
        self.refused_transaction = False
        self.own = False

    # Called several times for each statement: the common actions must be over soon.
    def _authorize(
        self, action: int, one: str | None, two: str | None, database: str | None, _: str | None
    ) -> int:
        if self.own:
            return sqlite3.SQLITE_OK
        if action in _TRANSACTION:
            self.refused_transaction = True
            return sqlite3.SQLITE_DENY
        refuse = _REFUSALS.get(action)
        if refuse is not None and refuse(self._text, one, two):
            return sqlite3.SQLITE_DENY
        if one is not None and one[:4].lower() == "_cf_":
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def _never(_text: str, _one: str | None, _two: str | None) -> bool:
    return True


def _pragma(_text: str, one: str | None, two: str | None) -> bool:
    name = (one or "").lower()
    return name not in _PRAGMAS or (name in _PRAGMAS_READ_ONLY and two is not None)


def _function(_text: str, _one: str | None, two: str | None) -> bool:
    return (two or "").lower() in _FUNCTIONS


def _module(_text: str, _one: str | None, two: str | None) -> bool:
    return (two or "").lower() not in _MODULES


def _alter(text: str, _one: str | None, _two: str | None) -> bool:
    # SQLite names the table as it is, not as it will be.
    return "_cf_" in text.lower()


_REFUSALS = {
    **dict.fromkeys(_NEVER, _never),
    sqlite3.SQLITE_PRAGMA: _pragma,
    sqlite3.SQLITE_FUNCTION: _function,
    sqlite3.SQLITE_CREATE_VTABLE: _module,
    sqlite3.SQLITE_ALTER_TABLE: _alter,
}
