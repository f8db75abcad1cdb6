"""Opening the copy: what is checked, and how its connections are set up."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Literal

from afterquery._errors import ConfigurationError

BUSY_SECONDS = 10.0
"""How long a statement waits for a lock that another program holds on the file, in seconds."""

Synchronous = Literal["FULL", "NORMAL"]


def checked(db: str | os.PathLike[str]) -> Path:
    """The path of the copy; it is created if there is none, and refused if it cannot serve."""
    path = Path(db)
    if str(db) in {"", ":memory:"}:
        raise ConfigurationError("the peer's database must be a file: its readers open it again")
    if path.is_dir():
        raise ConfigurationError(f"the peer's database {path} is a folder")
    # Whoever moves the process to another folder does not move the file.
    path = path.absolute()
    if not path.parent.is_dir():
        raise ConfigurationError(f"the folder of the peer's database {path} does not exist")
    try:
        _create(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _check(connection, path)
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(f"cannot use the peer's database {path}: {error}") from error
    return path


def _create(path: Path) -> None:
    """Make the file, for its owner alone; SQLite gives what it puts beside it the same mode."""
    try:
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        # A umask can have taken something off.
        os.fchmod(made, 0o600)
    finally:
        os.close(made)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    encoding = connection.execute("PRAGMA encoding").fetchone()[0]
    if encoding != "UTF-8":
        raise ConfigurationError(f"the peer's database {path} is {encoding}, and must be UTF-8")
    # It stays in the file, so one time is enough.
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise ConfigurationError(
            f"the peer's database {path} cannot have a write-ahead log: its journal mode is {mode}"
        )


def writer(path: Path, synchronous: Synchronous, max_value_bytes: int) -> sqlite3.Connection:
    """The one connection that writes; the file must be there."""
    connection = _open(path, "rw")
    try:
        _check(connection, path)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        # Python sets limits from 3.11 on.
        if sys.version_info >= (3, 11):
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_value_bytes)
        # The log exists from the first look on.
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def reader(path: Path, max_memory_bytes: int) -> sqlite3.Connection:
    """A connection that cannot write, for a process of its own: the limit holds for all of it."""
    connection = _open(path, "ro")
    connection.execute("PRAGMA query_only = ON")
    # What sorts and temporary tables need counts as memory, and fills no disk.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA hard_heap_limit = {max_memory_bytes}")
    return connection


def _open(path: Path, mode: Literal["rw", "ro"]) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        # Used by one thread at a time, and closed by another.
        check_same_thread=False,
        # Replicated texts hardly repeat.
        cached_statements=0,
    )
