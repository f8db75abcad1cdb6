"""One text as one SQLite transaction.

Readers see all of it or nothing, and so does a restart after a crash. When a statement fails, what
ran before it is committed, as on StarbaseDB; with `rollback_on_error` it is taken back.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from afterquery.peer.allowed import MAX_PARAMETERS, SETTINGS
from afterquery.peer.errors import SqlError
from afterquery.peer.guard import Guard
from afterquery.peer.protocol import Form, Query
from afterquery.peer.split import split

_TOO_LONG = "statement too long: SQLITE_TOOBIG"
_NO_STATEMENT = "SQL code did not contain a statement."
_WRONG_COUNT = "Wrong number of parameter bindings for SQL query."
_NO_UNICODE = "the text is no valid Unicode"
_NOT_LAST = "When executing multiple SQL statements in a single call, only the last statement can "
# It begins with the words of the engine, by which senders know it.
_TRANSACTION = (
    "To execute a transaction, please use the state.storage.transaction() API, or here: send its"
    " statements as one text, instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements."
)
_VIOLATED = (
    "The text was rolled back because it left the database in a state where constraints were"
    " violated: "
)

_STEPS = 10_000
"""After so many steps of SQLite's machine, less than a millisecond, the clock is looked at."""


@dataclass(frozen=True)
class Rules:
    """How texts are run."""

    max_sql_bytes: int
    """The longest text, in bytes of UTF-8."""

    rollback_on_error: bool
    """Take the whole text back when one of its statements fails."""

    max_result_bytes: int
    """The largest result, as JSON; nothing is applied of a text that has a larger one."""

    max_memory: str = ""
    """The name and the value of the limit on memory where there is one, for messages."""


@dataclass(frozen=True)
class Text:
    """A text to run, and what its sender still may have."""

    query: Query
    form: Form
    seconds: float
    """How long it may run."""
    room: int
    """How many bytes its result may have."""


class Session:
    """A connection and what guards it. One thread at a time."""

    def __init__(self, connection: sqlite3.Connection, rules: Rules, begin: str) -> None:
        self.connection = connection
        self._guard = Guard(connection)
        self._rules = rules
        self._begin = begin
        self._deadline: float | None = None
        self._guarded = threading.Lock()
        self._room = 0
        connection.text_factory = self._text
        connection.set_progress_handler(self._is_late, _STEPS)

    def run(self, text: Text) -> bytes:
        """Run a text; the JSON is that of its last statement's rows."""
        try:
            return self._transaction(text)
        finally:
            self._reset()

    def stop_late(self) -> None:
        """Stop a text that is beyond its time; from any thread.

        Some calls look whether they are to stop, and not at the clock.
        """
        with self._guarded:
            if self._is_late():
                self.connection.interrupt()

    def _transaction(self, text: Text) -> bytes:
        code = self._checked(text.query)
        if self.connection.in_transaction:
            # The end of an earlier one failed, with the disk perhaps. Start clean.
            self._own("ROLLBACK")
        self._own(self._begin)
        try:
            result = self._statements(code, text)
        except SqlError as error:
            self._end("ROLLBACK" if error.undo or self._rules.rollback_on_error else "COMMIT")
            raise
        except BaseException:
            self._end("ROLLBACK")
            raise
        self._end("COMMIT")
        return result

    def _checked(self, query: Query) -> str:
        try:
            size = len(query.sql.encode())
        except UnicodeEncodeError as error:
            raise SqlError(
                f"the text is no valid Unicode at character {error.start}: SQLITE_MISMATCH"
            ) from None
        if size > self._rules.max_sql_bytes:
            raise SqlError(_TOO_LONG)
        if len(query.params) > MAX_PARAMETERS:
            raise SqlError("too many SQL variables: SQLITE_ERROR")
        return query.sql

    def _statements(self, whole: str, text: Text) -> bytes:
        # For SQLite a text ends at a NUL; the engine runs what is before it, and then misses a
        # statement, as it does when a comment or a semicolon follows the last one.
        code, nul, _ = whole.partition("\0")
        statements, trailing = split(code)
        if not statements:
            raise SqlError(_NO_STATEMENT)
        cursor = self.connection.cursor()
        self._guard.watch(code)
        self._room = text.room
        self._deadline = time.monotonic() + text.seconds
        try:
            with self._failures(_NOT_LAST + "have parameters."):
                for statement in statements[:-1]:
                    self._guard.alters = False
                    cursor.execute(statement)
                    # An ALTER TABLE that looks at the rows of its table has columns, and no rows.
                    if cursor.description is not None and not self._guard.alters:
                        raise SqlError(_NOT_LAST + "return rows.", undo=True)
            with self._failures(_WRONG_COUNT):
                cursor.execute(statements[-1], text.query.params)
                columns = [column[0] for column in cursor.description or ()]
                result = self._written(text.form(columns, cursor), text.room)
        finally:
            # What follows is the peer's own, and short; it must not be cut off.
            with self._guarded:
                self._deadline = None
            cursor.close()
            self._guard.rest()
        if trailing or nul:
            raise SqlError(_NO_STATEMENT)
        return result

    def _written(self, pieces: Iterator[str], room: int) -> bytes:
        written = bytearray()
        for piece in pieces:
            written += piece.encode("utf-8", "replace")
            if len(written) > room:
                raise self._too_large()
        return bytes(written)

    def _text(self, value: bytes) -> str:
        """A TEXT value; what is no UTF-8 is replaced, as in JavaScript."""
        self._room -= len(value)
        if self._room < 0:
            raise self._too_large()
        return value.decode("utf-8", "replace")

    def _too_large(self) -> SqlError:
        most = self._rules.max_result_bytes
        return SqlError(
            f"the result is larger than max_result_bytes ({most}): SQLITE_TOOBIG",
            undo=True,
            limit="max_result_bytes",
        )

    @contextmanager
    def _failures(self, wrong_count: str) -> Iterator[None]:
        """Turn what sqlite3 raises into an answer; `wrong_count` is for unbound placeholders."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            if str(error).startswith("Incorrect number of bindings"):
                raise SqlError(wrong_count) from None
            raise SqlError.from_sqlite(error) from None
        except (sqlite3.Error, sqlite3.Warning) as error:
            if self._guard.refused_transaction:
                raise SqlError(_TRANSACTION) from None
            raise SqlError.from_sqlite(error) from None
        except MemoryError:
            needed = self._rules.max_memory
            message = f"the text needs more than {needed}" if needed else "out of memory"
            limit = "max_read_memory_bytes" if needed else None
            raise SqlError(f"{message}: SQLITE_NOMEM", undo=True, limit=limit) from None
        except UnicodeEncodeError:
            raise SqlError("a parameter is no valid Unicode: SQLITE_MISMATCH") from None

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _reset(self) -> None:
        # On StarbaseDB a setting stays until the engine happens to restart; here it ends with the
        # text, so that no request depends on an earlier one.
        if self._guard.changed_settings:
            self._guard.changed_settings = False
            for name, value in SETTINGS.items():
                self.connection.execute(f"PRAGMA {name} = {value}")

    def _own(self, sql: str) -> None:
        try:
            self.connection.execute(sql)
        except sqlite3.Error as error:
            raise SqlError.from_sqlite(error) from None

    def _end(self, verb: str) -> None:
        # SQLite itself has ended it after OR ROLLBACK, RAISE(ROLLBACK) and some storage errors.
        if not self.connection.in_transaction:
            return
        try:
            self.connection.execute(verb)
        except sqlite3.Error as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            failure = SqlError.from_sqlite(error)
            if isinstance(error, sqlite3.IntegrityError):
                raise SqlError(_VIOLATED + failure.message) from None
            raise failure from None
