"""What the storage engine behind StarbaseDB allows and refuses; the conformance suite checks it.

A text that a peer accepted and the engine would not is a surprise for later, so these lists are
the engine's.
"""

from __future__ import annotations

import enum
import sqlite3


class Pragma(enum.Enum):
    """How an allowed pragma may be used."""

    QUESTION = "without a value"
    ABOUT = "with a value: what it is about"
    EITHER = "with or without a value"
    SETTING = "without a value to read it, with one to change the connection"

    def accepts(self, value: str | None) -> bool:
        """Whether it may have this value; None is none."""
        if self is Pragma.QUESTION:
            return value is None
        return value is not None or self is not Pragma.ABOUT


PRAGMAS = {
    "data_version": Pragma.QUESTION,
    "page_size": Pragma.QUESTION,
    "foreign_key_list": Pragma.ABOUT,
    "index_info": Pragma.ABOUT,
    "index_list": Pragma.ABOUT,
    "index_xinfo": Pragma.ABOUT,
    "table_info": Pragma.ABOUT,
    "table_xinfo": Pragma.ABOUT,
    "defer_foreign_keys": Pragma.EITHER,
    "foreign_key_check": Pragma.EITHER,
    "optimize": Pragma.EITHER,
    "quick_check": Pragma.EITHER,
    "table_list": Pragma.EITHER,
    "case_sensitive_like": Pragma.SETTING,
    "foreign_keys": Pragma.SETTING,
    "ignore_check_constraints": Pragma.SETTING,
    "legacy_alter_table": Pragma.SETTING,
    "recursive_triggers": Pragma.SETTING,
    "reverse_unordered_selects": Pragma.SETTING,
}

SETTINGS = {
    name: "ON" if name == "foreign_keys" else "OFF"
    for name, form in PRAGMAS.items()
    if form is Pragma.SETTING
}
"""What the settings are at the start of every text."""

NO_ACTIONS = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_CREATE_TEMP_INDEX,
        sqlite3.SQLITE_CREATE_TEMP_TABLE,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    }
)

NO_TABLES = frozenset({"bytecode", "dbstat", "sqlite_dbpage", "sqlite_stmt", "tables_used"})

NO_FUNCTIONS = frozenset(
    {
        "ceiling",
        "fts3_tokenizer",
        "fts5",
        "fts5_source_id",
        "load_extension",
        "log10",
        "power",
        "rtreedepth",
        "rtreenode",
        "soundex",
        "sqlite_compileoption_get",
        "sqlite_compileoption_used",
        "sqlite_log",
        "sqlite_offset",
        "sqlite_source_id",
        "sqlite_version",
        "subtype",
    }
)

MODULES = frozenset({"fts5", "fts5vocab", "rtree", "rtree_i32"})
"""The kinds of virtual table."""

MAX_PARAMETERS = 100

LIMITS = {
    "SQLITE_LIMIT_ATTACHED": 0,
    "SQLITE_LIMIT_COLUMN": 100,
    "SQLITE_LIMIT_COMPOUND_SELECT": 5,
    "SQLITE_LIMIT_EXPR_DEPTH": 100,
    "SQLITE_LIMIT_LIKE_PATTERN_LENGTH": 50,
    "SQLITE_LIMIT_TRIGGER_DEPTH": 10,
    "SQLITE_LIMIT_VARIABLE_NUMBER": MAX_PARAMETERS,
}
