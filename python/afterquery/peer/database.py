"""The copy and its threads: one that writes, a few that read. The event loop waits for neither."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from afterquery._sql import BLANK, NAME
from afterquery.peer import connect
from afterquery.peer.batch import Rules, Session
from afterquery.peer.protocol import Query, Rows, encode

READERS = 2
"""How many requests are read at the same time."""

Form = Callable[[Rows], object]

# A text that is surely no write needs no turn of the writer. A false "no" costs only the wait.
_READ = re.compile(rf"{BLANK}(?:SELECT|VALUES|EXPLAIN)(?!{NAME})", re.IGNORECASE | re.ASCII)
# What these tell is the writer's own, as on StarbaseDB, which has a single connection.
_WRITERS_OWN = re.compile(r"changes|last_insert_rowid", re.IGNORECASE | re.ASCII)


class Database:
    """Runs texts against the file. Threads and connections are made when the first one comes."""

    def __init__(self, path: Path, rules: Rules, synchronous: connect.Synchronous) -> None:
        self._writer = _Pool(
            1,
            "afterquery-peer-write",
            lambda: Session(connect.writer(path, synchronous), rules, "BEGIN IMMEDIATE"),
        )
        self._readers = _Pool(
            READERS, "afterquery-peer-read", lambda: Session(connect.reader(path), rules, "BEGIN")
        )

    def submit(self, query: Query, form: Form, *, may_write: bool) -> Future[bytes]:
        """Run a text on a thread; the future holds the answer's body, or an `SqlError`."""
        reads = not may_write or (_READ.match(query.sql) and not _WRITERS_OWN.search(query.sql))
        pool = self._readers if reads else self._writer
        return pool.submit(partial(_answer, query=query, form=form))

    def close(self) -> None:
        """Finish what was submitted and close the file. Submitting again opens it again."""
        # The writer goes last: the last connection to close folds the log into the file.
        self._readers.close()
        self._writer.close()


def _answer(session: Session, query: Query, form: Form) -> bytes:
    return encode("result", form(session.run(query)))


class _Pool:
    """Threads with a session each."""

    def __init__(self, threads: int, name: str, connect: Callable[[], Session]) -> None:
        self._threads = threads
        self._name = name
        self._connect = connect
        self._local = threading.local()
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._opened: list[sqlite3.Connection] = []

    def submit(self, work: Callable[[Session], bytes]) -> Future[bytes]:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, self._name)
            return self._executor.submit(lambda: work(self._session()))

    def close(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
            if executor is not None:
                executor.shutdown()
            for connection in self._opened:
                connection.close()
            self._opened.clear()

    def _session(self) -> Session:
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._connect()
            self._opened.append(session.connection)
        return session
