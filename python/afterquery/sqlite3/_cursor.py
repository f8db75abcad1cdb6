"""Cursors whose statements are followed."""

from __future__ import annotations

import sqlite3
import sys
from collections import deque
from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from afterquery._failures import interrupted
from afterquery._warning import named_but_a_sequence
from afterquery.sqlite3._script import run_script
from afterquery.sqlite3._statement import Control, statement

if TYPE_CHECKING:
    from typing_extensions import Self

    from afterquery.sqlite3._connection import Connection


class Cursor(sqlite3.Cursor):
    """A cursor of a connection that is followed."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """As `sqlite3.Cursor.execute`."""
        connection: Connection = self.connection  # type: ignore[assignment]
        try:
            found = statement(sql)
        except Exception as error:
            if interrupted(error):
                raise
            _told(connection, sql)
            return super().execute(sql, parameters)
        if found.named is not None and parameters and not isinstance(parameters, dict):
            named_but_a_sequence(*found.named)
        if found.writes:
            run = super().execute
            return connection._follower.write(connection, found, sql, parameters, run, self)
        if found.control is not None:
            return self._control(connection, found.control, sql, parameters)
        try:
            super().execute(sql, parameters)
        except BaseException:
            connection._follower.after_error(connection)
            raise
        if found.holds:
            if self.description is not None:
                connection._follower.holding(self)
            connection._follower.other(connection, sql)
        connection._follower.gathering.count(sql)
        return self

    def executemany(self, sql: str, rows: Iterable[Any], /) -> Self:
        """As `sqlite3.Cursor.executemany`."""
        connection = cast("Connection", self.connection)
        follower = connection._follower
        try:
            found = statement(sql)
        except Exception as error:
            if interrupted(error):
                raise
            _told(connection, sql)
            return super().executemany(sql, rows)
        if not found.writes:
            return super().executemany(sql, rows)
        # Without the lock: it is let go of while the user's generator makes a row.
        known = found.deterministic or follower.mixed is not None
        if known and not follower.alone(connection, found):
            return follower.many(connection, sql, rows, super().executemany, self)
        return self._one_by_one(sql, rows)

    def executescript(self, sql_script: str, /) -> Self:
        """As `sqlite3.Cursor.executescript`."""
        connection = cast("Connection", self.connection)
        if not isinstance(cast("object", sql_script), str):
            super().executescript(sql_script)  # raises
        run_script(connection, connection._follower, sql_script, super().executescript)
        return self

    def _control(self, connection: Connection, control: Control, sql: str, parameters: Any) -> Self:
        run = partial(super().execute, sql, parameters)
        connection._follower.control(connection, control, sql, run)
        return self

    def _one_by_one(self, sql: str, rows: Iterable[Any]) -> Self:
        """`executemany` where each row is a transaction, or has a text, of its own."""
        if rows is self:
            raise sqlite3.ProgrammingError("Recursive use of cursors not allowed.")
        given = iter(rows)
        lastrowid = self.lastrowid
        super().executemany(sql, ())  # what fails without rows, fails here
        counted, returned = 0, False
        for row in given:
            if returned and sys.version_info >= (3, 12):
                Held.hold(self, (), many=(-1, lastrowid))
                raise _misuse()
            if isinstance(self, Held):
                self._release()
            Cursor.execute(self, sql, row)
            returned = self.description is not None
            if returned and sys.version_info < (3, 11):
                Held.hold(self, (), many=(-1, lastrowid))
                raise sqlite3.ProgrammingError("executemany() can only execute DML statements.")
            counted += 0 if returned else max(0, self.rowcount)
        kept = returned and isinstance(self, Held) and sys.version_info >= (3, 12)
        Held.hold(self, cast("Held", self)._rows if kept else (), many=(counted, lastrowid))
        return self

    def _end(self) -> None:
        """End the previous statement: what it changed is counted only now."""
        if self.description is not None:
            super().execute("")

    def _hold(self) -> None:
        """Fetch the rows of RETURNING: before the last one, nothing can be committed."""
        if self.description is None:
            return
        factory, self.row_factory = self.row_factory, None
        error: Exception | None = None
        rows: list[Any] = []
        try:
            while (row := super().fetchone()) is not None:
                rows.append(row)
        except Exception as raised:  # a converter's, for one
            if interrupted(raised):
                super().execute("SELECT 1 LIMIT 0")
                raise
            error = raised
            super().execute("SELECT 1 LIMIT 0")  # ends the statement
        finally:
            self.row_factory = factory
        Held.hold(self, rows, error)


def _misuse() -> sqlite3.InterfaceError:
    """What `sqlite3` raises for the second row of an `executemany` with RETURNING."""
    error = sqlite3.InterfaceError("bad parameter or other API misuse")
    error.sqlite_errorcode, error.sqlite_errorname = 21, "SQLITE_MISUSE"  # type: ignore[attr-defined]
    return error


def _told(connection: Connection, sql: object) -> None:
    """A text could not be read. If it is no str, sqlite3 says so; else what it writes is lost."""
    if isinstance(sql, str):
        connection._follower.gathering.unseen(
            "a statement could not be read, and is not replicated"
        )


class Held(Cursor):
    """A cursor whose statement has ended. Its result is kept here until the next statement.

    A cursor becomes one, and is itself again, by its `__class__`: iterating over the rows of any
    other must not pass through Python.
    """

    _rows: deque[Any]
    _error: Exception | None
    _many: tuple[int, int | None] | None
    """After executemany: the number of rows, and the `lastrowid` from before."""

    @staticmethod
    def hold(
        cursor: Cursor,
        rows: Iterable[Any],
        error: Exception | None = None,
        many: tuple[int, int | None] | None = None,
    ) -> None:
        """Make a cursor give this result."""
        if not isinstance(cursor, Held):
            cursor.__class__ = _held(type(cursor))
        held = cast("Held", cursor)
        held._rows, held._error, held._many = deque(rows), error, many

    def _release(self) -> None:
        self.__class__ = type(self)._free  # type: ignore[attr-defined]

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        self._release()
        return Cursor.execute(self, sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Any], /) -> Self:
        self._release()
        return Cursor.executemany(self, sql, rows)

    def __next__(self) -> Any:
        super().fetchone()  # complains where the cursor or the connection is closed
        if not self._rows:
            error, self._error = self._error, None
            raise error or StopIteration
        row = self._rows.popleft()
        return row if self.row_factory is None else self.row_factory(self, row)

    def fetchone(self) -> Any:
        return next(self, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        size = self.arraysize if size is None else size
        return list(islice(self, size if size > 0 else None))

    def fetchall(self) -> list[Any]:
        return list(self)

    @property
    def rowcount(self) -> int:
        return super().rowcount if self._many is None else self._many[0]

    @property
    def lastrowid(self) -> int | None:
        return super().lastrowid if self._many is None else self._many[1]


Held._free = Cursor  # type: ignore[attr-defined]


@lru_cache(maxsize=64)
def _held(kind: type[Cursor]) -> type[Held]:
    return Held if kind is Cursor else type(kind.__name__, (kind, Held), {"_free": kind})


@lru_cache(maxsize=64)
def followed(kind: type[sqlite3.Cursor]) -> type[sqlite3.Cursor]:
    """A class of cursors of the user's, on top of ours."""
    if issubclass(kind, Cursor):
        return kind
    return Cursor if kind is sqlite3.Cursor else type(kind.__name__, (kind, Cursor), {})


def follow(connection: Connection, cursor: sqlite3.Cursor) -> sqlite3.Cursor:
    """A cursor that a factory has made, as one of ours."""
    kind = type(cursor)
    if kind is sqlite3.Cursor:
        return Cursor(cursor.connection)
    if not isinstance(cast("object", cursor), sqlite3.Cursor):
        return cursor  # sqlite3 complains
    try:
        cursor.__class__ = followed(kind)
    except TypeError:
        connection._follower.gathering.unseen(
            "a cursor of a class with __slots__, made by a function, is not followed"
        )
    return cursor
