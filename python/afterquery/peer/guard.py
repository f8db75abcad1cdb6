"""What StarbaseDB's storage engine refuses, refused here by SQLite's own authorizer.

It is asked while SQLite compiles a statement, so no spelling gets around it.
"""

from __future__ import annotations

import sqlite3

from afterquery._sql import fold
from afterquery.peer import allowed

_TRANSACTION = frozenset({sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT})
_LOOKS = frozenset({sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT})
_ROWS = frozenset(
    {
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
    }
)
_MOST_TABLES = 1_000


def _renames(action: int, table: str | None) -> bool:
    """Whether SQLite looks for what an ALTER TABLE renames in the temporary schema, too.

    A text cannot write there by itself: SQLite refuses that before it asks.
    """
    return action == sqlite3.SQLITE_UPDATE and table in {"sqlite_temp_master", "sqlite_temp_schema"}


class Guard:
    """The authorizer of one connection, used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.refused_transaction = False
        """A statement of the text wanted to begin or end a transaction."""
        self.changed_settings = False
        """A statement of the text changed a setting of the connection."""
        self.alters = False
        """A statement is an ALTER TABLE; who wants to know sets it to False before."""
        self._own = True
        self._text = ""
        self._tables: set[str | None] = set()
        self._special = {
            sqlite3.SQLITE_PRAGMA: self._pragma,
            sqlite3.SQLITE_FUNCTION: _function,
            sqlite3.SQLITE_CREATE_VTABLE: _module,
            sqlite3.SQLITE_ALTER_TABLE: self._alter,
        }
        for name, value in allowed.LIMITS.items():
            # Python sets limits from 3.11 on.
            if hasattr(connection, "setlimit"):
                connection.setlimit(getattr(sqlite3, name), value)
        self._connection = connection
        self.rest()

    def watch(self, text: str) -> None:
        """From here to `rest` the statements are those of a request."""
        self._text = text
        self._own = self.refused_transaction = self.changed_settings = False
        # Setting it anew makes SQLite compile again, and so ask again, whatever Python 3.10 keeps
        # in a cache that cannot be turned off there: a request could run the peer's own COMMIT.
        self._connection.set_authorizer(self._authorize)

    def rest(self) -> None:
        """From here the statements are the peer's own."""
        self._own = True

    # Called several times for each statement: what is usual must be over soon.
    def _authorize(
        self, action: int, one: str | None, two: str | None, database: str | None, _: str | None
    ) -> int:
        if action in _ROWS and one in self._tables and database != "temp":
            return 0
        verdict = self._judge(action, one, two, database)
        if action in _ROWS and verdict == sqlite3.SQLITE_OK and not self._own:
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            self._tables.add(one)
        return verdict

    def _judge(self, action: int, one: str | None, two: str | None, database: str | None) -> int:
        if self._own:
            return sqlite3.SQLITE_OK
        if one is not None and (fold(one[:4]) == "_cf_" or one in allowed.NO_TABLES):
            return sqlite3.SQLITE_DENY
        if database == "temp" and action not in _LOOKS and not _renames(action, one):
            return sqlite3.SQLITE_DENY
        if action in _TRANSACTION:
            self.refused_transaction = True
            return sqlite3.SQLITE_DENY
        if action in allowed.NO_ACTIONS:
            return sqlite3.SQLITE_DENY
        special = self._special.get(action)
        if special is None or special(one, two):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def _pragma(self, name: str | None, value: str | None) -> bool:
        form = allowed.PRAGMAS.get(fold(name or ""))
        if form is None:
            return False
        if form is allowed.Pragma.SETTING and value is not None:
            self.changed_settings = True
        return form.accepts(value)

    def _alter(self, _database: str | None, _table: str | None) -> bool:
        self.alters = True
        # SQLite tells the table's name as it is, not as it will be.
        return "_cf_" not in fold(self._text)


def _function(_: str | None, name: str | None) -> bool:
    return fold(name or "") not in allowed.NO_FUNCTIONS


def _module(_: str | None, name: str | None) -> bool:
    return fold(name or "") in allowed.MODULES
