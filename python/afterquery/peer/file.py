"""The file under the peer: whether what is open is still what is there, and opening it anew.

A path is not a file. Somebody can put a copy in its place, as a resync does, or remove it; SQLite
would go on with what it has open, and what it writes there is in no file that anybody finds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from afterquery._errors import ConfigurationError
from afterquery._log import logger
from afterquery.peer.errors import SqlError

_log = logger("afterquery.peer")


class Standing(NamedTuple):
    """The files at the path, of its log and the log's index: device and inode; None is no file."""

    main: tuple[int, int] | None
    wal: tuple[int, int] | None
    shm: tuple[int, int] | None


def look(path: str) -> Standing:
    """What is there now."""
    return Standing(_identity(path), _identity(f"{path}-wal"), _identity(f"{path}-shm"))


def log_bytes(path: str) -> int:
    """The size of the write-ahead log."""
    found = _stat(f"{path}-wal")
    return 0 if found is None else found.st_size


def _identity(path: str) -> tuple[int, int] | None:
    found = _stat(path)
    return None if found is None else (found.st_dev, found.st_ino)


def _stat(path: str) -> os.stat_result | None:
    try:
        # Seven times for each text: `Path` takes several times as long.
        return os.stat(path)  # noqa: PTH116
    except OSError:
        return None


class Opened:
    """The connection that writes, and the files that it has open. One thread at a time.

    `connect` opens what is at the path; `alone` is called when nothing else of the peer may have
    the file open.
    """

    def __init__(
        self, path: Path, connect: Callable[[], sqlite3.Connection], alone: Callable[[], None]
    ) -> None:
        self._path = path
        self._name = str(path)
        self._connect = connect
        self._alone = alone
        self._connection: sqlite3.Connection | None = None
        self.standing: Standing | None = None
        """The files that are open; other threads may read it."""

    def connection(self) -> sqlite3.Connection:
        """The connection to what is at the path now: the same one, unless other files are there.

        Raises `SqlError` when no file that can serve is there.
        """
        now = look(self._name)
        if self._connection is not None and now == self.standing:
            return self._connection
        if now.main is None:
            raise _gone(self._path)
        if self._connection is not None:
            self._leave(self._connection, now)
        try:
            connection = self._connect()
        except (ConfigurationError, sqlite3.Error) as error:
            message = f"cannot use the file that is at {self._path.name} now: {error}"
            raise SqlError(f"{message}: SQLITE_CANTOPEN", status=503) from None
        opened = look(self._name)
        if opened.main != now.main:
            connection.close()
            raise SqlError(f"{self._path.name} is being replaced: SQLITE_CANTOPEN", status=503)
        self._connection, self.standing = connection, opened
        return connection

    def check(self) -> None:
        """Raise `SqlError` when what was just written is not in what is at the path."""
        if look(self._name) != self.standing:
            raise SqlError(
                f"{self._path.name} was replaced or removed while the text ran; whether it was"
                " applied to what is there now is not known: SQLITE_CANTOPEN",
                status=503,
            )

    def close(self) -> None:
        """Close it; the last one to close folds the log into the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self.standing = None

    def _leave(self, connection: sqlite3.Connection, now: Standing) -> None:
        """Close what is open, because other files are at the path."""
        _log.warning("%s or its log was replaced; it is opened anew", self._path)
        self._alone()
        before = self.standing
        if before is not None and now.main == before.main:
            # Only the log is gone from its place; what is in it belongs into the file.
            _fold(connection)
            self.close()
            return
        self._connection = self.standing = None
        # SQLite sees that its file has moved, and leaves alone what is at the path. A log that was
        # the old file's would be taken for the new one's: that would mix the two.
        connection.close()
        if before is not None and now.wal is not None and now.wal == before.wal:
            for end in ("-wal", "-shm"):
                Path(f"{self._path}{end}").unlink(missing_ok=True)


def _fold(connection: sqlite3.Connection) -> None:
    """Bring all of the log into the file, or raise `SqlError`: closing would lose what is left."""
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise SqlError.from_sqlite(error) from None
    if busy:
        raise SqlError(
            "the log was removed, and another program still reads the file: SQLITE_BUSY", status=503
        )


def _gone(path: Path) -> SqlError:
    return SqlError(
        f"the peer's file {path.name} is not there; put it back, or a copy of the primary in its"
        " place: SQLITE_CANTOPEN",
        status=503,
    )
