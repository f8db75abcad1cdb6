"""How a failure reads on the wire: StarbaseDB's status codes and messages."""

from __future__ import annotations

import sqlite3

# SQLite's primary result codes; an extended code carries its primary one in the low byte.
_PRIMARY = (
    "SQLITE_OK",
    "SQLITE_ERROR",
    "SQLITE_INTERNAL",
    "SQLITE_PERM",
    "SQLITE_ABORT",
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_NOMEM",
    "SQLITE_READONLY",
    "SQLITE_INTERRUPT",
    "SQLITE_IOERR",
    "SQLITE_CORRUPT",
    "SQLITE_NOTFOUND",
    "SQLITE_FULL",
    "SQLITE_CANTOPEN",
    "SQLITE_PROTOCOL",
    "SQLITE_EMPTY",
    "SQLITE_SCHEMA",
    "SQLITE_TOOBIG",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_MISUSE",
    "SQLITE_NOLFS",
    "SQLITE_AUTH",
    "SQLITE_FORMAT",
    "SQLITE_RANGE",
    "SQLITE_NOTADB",
)

# For Python 3.10, whose sqlite3 does not tell the code: what the message starts with.
_BY_MESSAGE = (
    ("UNIQUE constraint", "SQLITE_CONSTRAINT_UNIQUE"),
    ("NOT NULL constraint", "SQLITE_CONSTRAINT_NOTNULL"),
    ("CHECK constraint", "SQLITE_CONSTRAINT_CHECK"),
    ("FOREIGN KEY constraint", "SQLITE_CONSTRAINT_FOREIGNKEY"),
    ("cannot store", "SQLITE_CONSTRAINT_DATATYPE"),
    ("datatype mismatch", "SQLITE_MISMATCH"),
    ("not authorized to use function", "SQLITE_ERROR"),
    ("not authorized", "SQLITE_AUTH"),
    ("access to", "SQLITE_AUTH"),
    ("database is locked", "SQLITE_BUSY"),
    ("database table is locked", "SQLITE_LOCKED"),
    ("database or disk is full", "SQLITE_FULL"),
    ("disk I/O error", "SQLITE_IOERR"),
    ("unable to open database file", "SQLITE_CANTOPEN"),
    ("attempt to write a readonly database", "SQLITE_READONLY"),
    ("string or blob too big", "SQLITE_TOOBIG"),
    ("statement too long", "SQLITE_TOOBIG"),
    ("query string is too large", "SQLITE_TOOBIG"),
    ("database disk image is malformed", "SQLITE_CORRUPT"),
    ("interrupted", "SQLITE_INTERRUPT"),
)

# The storage's trouble and not the statement's: the same text can succeed a little later.
_LATER = frozenset(
    {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT", "SQLITE_PROTOCOL", "SQLITE_SCHEMA"}
)
_BROKEN = frozenset(
    {
        "SQLITE_CANTOPEN",
        "SQLITE_CORRUPT",
        "SQLITE_FULL",
        "SQLITE_IOERR",
        "SQLITE_NOMEM",
        "SQLITE_NOTADB",
    }
)


class RequestError(Exception):
    """An answer that is no result; `limit` is the name of the limit it is about, if it is."""

    def __init__(self, status: int, message: str, *, limit: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.limit = limit


class SqlError(RequestError):
    """A text that failed. What ran before the failing statement stays, unless `undo`."""

    def __init__(
        self, message: str, *, status: int = 500, undo: bool = False, limit: str | None = None
    ) -> None:
        super().__init__(status, message, limit=limit)
        self.undo = undo

    @classmethod
    def from_sqlite(cls, error: sqlite3.Error | sqlite3.Warning) -> SqlError:
        """The same words the storage engine of StarbaseDB has for it."""
        name = _name(error)
        primary = primary_name(name)
        message = f"{error}: {primary}"
        if name != primary:
            message += f" (extended: {name})"
        if primary in _LATER:
            limit = "max_seconds" if primary == "SQLITE_INTERRUPT" else None
            return cls(message, status=503, undo=True, limit=limit)
        return cls(message, undo=primary in _BROKEN)


def primary_name(name: str) -> str:
    """`SQLITE_CONSTRAINT` for `SQLITE_CONSTRAINT_UNIQUE`."""
    return "_".join(name.split("_", 2)[:2])


def _primary(code: int) -> str:
    code &= 0xFF
    return _PRIMARY[code] if code < len(_PRIMARY) else "SQLITE_ERROR"


def _name(error: sqlite3.Error | sqlite3.Warning) -> str:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        name: str = getattr(error, "sqlite_errorname", "")
        # A Python older than its SQLite does not know the newest extended codes by name.
        return name if name.startswith("SQLITE_") else _primary(code)
    message = str(error)
    for start, name in _BY_MESSAGE:
        if message.startswith(start):
            return name
    return "SQLITE_CONSTRAINT" if isinstance(error, sqlite3.IntegrityError) else "SQLITE_ERROR"
