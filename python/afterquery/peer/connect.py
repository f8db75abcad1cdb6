"""Opening the copy: what is checked, and how its connections are set up."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal

from afterquery._errors import ConfigurationError
from afterquery.peer.values import text

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
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"the folder of the peer's database {path} does not exist")
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _check(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ConfigurationError(f"cannot use the peer's database {path}: {error}") from error
    return path


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


def writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """The one connection that writes."""
    connection = _open(path)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = _open(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        # Used by one thread at a time, and closed by another.
        check_same_thread=False,
        # Replicated texts hardly repeat.
        cached_statements=0,
    )
    connection.text_factory = text
    return connection
