"""Whether another process writes to the same database, too, without an outbox.

Each process has an order of its own then, and nothing merges the two: rows that both write may
differ on the replicas. So who commits to a file for the first time locks a file of ours that stands
for it, in the directory for temporary files: shared, for as long as the process lives. A lock that
cannot be had alone is another process's. Who comes second makes the file longer by a line, by which
the first one knows, also when the second has long ended.

The lock is POSIX's: it belongs to the process, a forked child has none of its parent's, and it is
gone when any part of the process closes the file. So it is never closed, and neither the database
nor anything beside it is ever opened: that would drop SQLite's own locks.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import threading
import time
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from afterquery._core import quoted
from afterquery._failures import failures
from afterquery._log import logger

if TYPE_CHECKING:
    from afterquery._core import Replicator

MOST = 256
"""Databases for which one process looks: each takes a descriptor..."""
_SHARE = 8
"""...and all of them at most this part of those that it may have: the application needs its own."""
_TRIES, _PAUSE = 50, 0.001
"""Another process has the lock alone for some microseconds, while it looks."""
_UNKNOWN = "whether other processes write to the same database could not be looked for"


class _Mark:
    """What this process has locked in the place of one database.

    The file has a line for each process that came since it was locked last, with the path that it
    knows the database by: file systems give the number of a deleted file to the next one, and who
    had that one is nobody to tell of.
    """

    def __init__(self, database: Hashable, path: str) -> None:
        self.path = path
        self._database = database
        self._name = os.urandom(8).hex()
        """Of this process, in the file. Its number may be another one's in another container."""
        self._shared = False
        self._take()

    def _take(self) -> None:
        name = self._database if isinstance(self._database, tuple) else (self._database,)
        self._file = _opened("-".join(map(str, name)))
        found = os.fstat(self._file)
        self._identity = found.st_dev, found.st_ino
        self._look()

    def _take_again(self) -> None:
        """The file was removed: its descriptor, if that is still ours, locks nothing any more."""
        taken, removed = self._file, self._is_ours()
        self._take()
        if removed:
            os.close(taken)

    def _look(self) -> None:
        """Take the lock, and say so to those that have it and to those that come."""
        self._read = 0
        if self._alone():
            os.ftruncate(self._file, 0)
            self._write()
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1)
            return
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1)
                break
            except OSError:
                time.sleep(_PAUSE)
        self._write()

    def _write(self) -> None:
        os.write(self._file, f"{self._name} {os.fsencode(self.path).hex()}\n".encode())

    def _alone(self) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError:
            return False
        return True

    def known_by(self, path: str) -> None:
        """The path that leads to the database now: it may be another one with the same number."""
        if path != self.path and not self.is_shared:
            self.path = path
            self._look()

    @property
    def is_shared(self) -> bool:
        """Whether another process has written meanwhile, or does."""
        if not self._is_there():
            self._take_again()
        os.utime(self._file)  # what is used is not tidied up
        size = os.fstat(self._file).st_size
        if size != self._read:
            lines = os.pread(self._file, size, 0).decode().split("\n")
            self._read = size
            others = [line for line in lines if line and not line.startswith(self._name)]
            paths = [os.fsdecode(bytes.fromhex(line.rpartition(" ")[2])) for line in others]
            self._shared |= self._leads(self.path) and any(map(self._leads, paths))
        return self._shared

    def _leads(self, path: str) -> bool:
        """Whether it leads to the database, or that cannot be found out."""
        try:
            found = Path(path).stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return (found.st_dev, found.st_ino) == self._database

    def _is_there(self) -> bool:
        """Whether it is still the file that was opened: somebody may have tidied up, or closed all
        descriptors, and this one's number be another file's."""
        return self._is_ours() and os.fstat(self._file).st_nlink > 0

    def _is_ours(self) -> bool:
        try:
            found = os.fstat(self._file)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def look_again(self) -> None:
        """Forget the processes that have ended."""
        if not self._is_there():
            self._shared = False
            self._take_again()
        elif self._alone():
            self._shared = False
            self._look()


def note(replicator: Replicator, database: Hashable, path: str) -> None:
    """Writes to the database, which `path` leads to, go to this replicator. Raises nothing."""
    try:
        mark = _mark(database, path)
        if mark is None:
            return
        with _lock:
            _marks_of.setdefault(replicator, {})[database] = mark
            is_shared = mark.is_shared
        if is_shared:
            _tell(mark.path)
    except Exception:
        failures.caught(_UNKNOWN)


def unordered(replicator: Replicator) -> str | None:
    """Why the order on the replicas may not be that of the commits; None if nothing says so."""
    try:
        with _lock:
            marks = _marks_of.get(replicator, {}).values()
            shared = [mark.path for mark in marks if mark.is_shared]
    except Exception:
        failures.caught(_UNKNOWN)
        return None
    for path in shared:
        _tell(path)
    return _reason(shared[0]) if shared else None


def look_again(replicator: Replicator) -> None:
    """Forget the processes that have ended: the replicas are as the primary is. Raises nothing."""
    try:
        with _lock:
            for mark in _marks_of.get(replicator, {}).values():
                mark.look_again()
    except Exception:
        failures.caught(_UNKNOWN)


def _reason(path: str) -> str:
    return quoted(
        f"another process writes to {path}, too: each has an order of its own, and rows that both"
        " write may differ on the replicas. Use an outbox, or one process"
    )


def _tell(path: str) -> None:
    if path not in _told:
        _told.add(path)
        _log.error("%s", _reason(path))


def _mark(database: Hashable, path: str) -> _Mark | None:
    with _lock:
        found = _marks.get(database)
        if found is not None:
            found.known_by(path)
        elif len(_marks) < _most():
            found = _marks[database] = _Mark(database, path)
    if found is None:
        failures.report(_UNKNOWN)
    return found


def _most() -> int:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if allowed == resource.RLIM_INFINITY else min(MOST, allowed // _SHARE)


def _directory() -> Path:
    """Ours alone: in a directory that others write to, a link might be laid."""
    import tempfile  # it imports much

    path = Path(tempfile.gettempdir(), f"afterquery-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path} is not this user's directory")
    return path


def _opened(name: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(_directory() / name, flags, 0o600)


_log = logger()
_lock = threading.RLock()
_told: set[str] = set()
_marks: dict[Hashable, _Mark] = {}
_marks_of: WeakKeyDictionary[Replicator, dict[Hashable, _Mark]] = WeakKeyDictionary()


def _forget() -> None:
    """In a forked child: its parent's locks are not its own. The files stay open: nobody may close
    one that this process is going to lock."""
    global _lock, _told, _marks, _marks_of
    _lock, _told = threading.RLock(), set()
    _marks, _marks_of = {}, WeakKeyDictionary()


os.register_at_fork(after_in_child=_forget)
