"""Reading a schema: from a database, or by running a `.sql` file in memory."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from afterquery import classify
from afterquery._sql import BLANK, NAME
from afterquery.lint.finding import UnusableError

_MAGIC = b"SQLite format 3\x00"
_VIRTUAL = re.compile(rf"CREATE{BLANK}VIRTUAL(?!{NAME})", re.IGNORECASE | re.ASCII)
_LACKS = re.compile(r"no such (function|collation sequence|module): (\w+)")


@dataclass(frozen=True)
class Object:
    """A table, view, index or trigger."""

    kind: str
    name: str
    sql: str
    line: int = 1
    """Where its SQL begins."""

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def virtual(self) -> bool:
        return _VIRTUAL.match(self.sql) is not None


@dataclass(frozen=True)
class Schema:
    """A database that has it, and its objects in the order of their making."""

    connection: sqlite3.Connection
    objects: list[Object]


def open_schema(path: Path) -> Schema:
    """Opens a database or a `.sql` file."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
        if head.startswith(_MAGIC):
            return _database(path, wal=head[18:19] == b"\x02")
        if path.suffix.lower() == ".sql":
            return _script(path, path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, sqlite3.Error) as error:
        raise UnusableError(f"{path}: {error}") from error
    raise UnusableError(f"{path} is neither a SQLite database nor a .sql file")


def _database(path: Path, *, wal: bool) -> Schema:
    # Without a log nobody has it open; reading through one would leave its files behind.
    idle = wal and not path.with_name(path.name + "-wal").exists()
    uri = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if idle else ''}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        return Schema(connection, [Object(*row) for row in _stored(connection)])
    except sqlite3.Error:
        connection.close()
        raise


def _stored(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    # The tables behind a virtual one are its own affair.
    return connection.execute(
        r"""SELECT type, name, sql FROM sqlite_master AS o WHERE sql IS NOT NULL
        AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND NOT EXISTS (
            SELECT 1 FROM sqlite_master AS v WHERE v.sql LIKE 'CREATE VIRTUAL%'
            AND substr(o.name, 1, length(v.name) + 1) = v.name || '_')
        ORDER BY rowid"""
    ).fetchall()


def _script(path: Path, text: str) -> Schema:
    """Runs what makes tables and fills them; a file is no place for settings."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    made: dict[tuple[str, str], tuple[str, Object]] = {}
    missing: list[Object] = []
    at = 0
    try:
        for statement in classify(text).statements:
            at = text.index(statement.sql, at)
            line = text.count("\n", 0, at) + 1
            if statement.kind in ("ddl", "write", "unknown") or _sets_encoding(statement.sql):
                if not _run(connection, statement.sql, f"{path}:{line}"):
                    missing.append(Object("table", statement.table or "", statement.sql, line))
                for kind, name, sql in _stored(connection) if statement.verb == "CREATE" else ():
                    item = Object(kind, name, statement.sql, line)
                    made.setdefault((kind, name), (sql, item))
            at += len(statement.sql)
        objects = [_located(made, *row) for row in _stored(connection)]
    except BaseException:
        connection.close()
        raise
    return Schema(connection, objects + missing)


def _sets_encoding(sql: str) -> bool:
    return re.match(rf"PRAGMA{BLANK}encoding{BLANK}=", sql, re.IGNORECASE | re.ASCII) is not None


def _located(
    made: dict[tuple[str, str], tuple[str, Object]], kind: str, name: str, sql: str
) -> Object:
    """As the file has it; what was altered since, as SQLite wrote it, from the same line on."""
    stored, item = made.get((kind, name), (None, Object(kind, name, sql)))
    return item if stored == sql else Object(kind, name, sql, item.line)


def _run(connection: sqlite3.Connection, sql: str, place: str) -> bool:
    """Runs a statement, with stand-ins for the application's functions and collations.

    False where it needs a module that is not here.
    """
    given: set[str] = set()
    while True:
        try:
            connection.execute(sql)
            return True
        except (sqlite3.Error, sqlite3.Warning) as error:
            lack = _LACKS.search(str(error))
            if lack is None or lack[2] in given:
                raise UnusableError(f"{place}: {error}") from error
            if lack[1] == "module":
                return False
            given.add(lack[2])
            _stand_in(connection, *lack.groups())


def _stand_in(connection: sqlite3.Connection, kind: str, name: str) -> None:
    if kind == "function":
        connection.create_function(name, -1, lambda *_: None, deterministic=True)
    else:
        connection.create_collation(name, lambda a, b: (a > b) - (a < b))
