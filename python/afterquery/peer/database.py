"""The copy and who works on it: one thread that writes, and processes that read.

Each role has its lane, and what senders ask about their own watermark goes with the writes, so no
reader is ever in a writer's way. The event loop waits for none of them.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from afterquery._log import logger
from afterquery._sql import BLANK, NAME
from afterquery.peer import connect
from afterquery.peer.auth import Role
from afterquery.peer.batch import Rules, Session, Text
from afterquery.peer.errors import SqlError
from afterquery.peer.file import Opened, Standing, log_bytes, look
from afterquery.peer.lanes import Job, Lane
from afterquery.peer.limits import Limits, Tally
from afterquery.peer.process import Reader, Reading

_log = logger("afterquery.peer")

ADMIN_READERS = 2
"""How many reads of the admin token run at the same time."""

READS_END_SECONDS = 1.0
"""How long reads that are under way may take at the end, in seconds."""

WATCH_SECONDS = 0.5
"""How often a text that writes is looked after."""

TRIM_SECONDS = 5.0
"""How long a log that could not begin anew is left alone."""

# A text that is surely no write needs no turn of the writer. A false "no" costs only the wait.
_READ = re.compile(rf"{BLANK}(?:SELECT|VALUES|EXPLAIN)(?!{NAME})", re.IGNORECASE | re.ASCII)
# What these tell is the writer's own, as on StarbaseDB, which has a single connection; and a sender
# asks for its watermark to go on writing.
_WRITERS_OWN = re.compile(
    rf"changes{BLANK}\(|last_insert_rowid|tmp_afterquery_", re.IGNORECASE | re.ASCII
)


class Database:
    """Runs texts against the file. Threads and processes are made when the first text comes."""

    def __init__(
        self,
        path: Path,
        rules: Rules,
        limits: Limits,
        synchronous: connect.Synchronous,
        tally: Tally,
    ) -> None:
        reading = Reading(
            path,
            max_sql_bytes=rules.max_sql_bytes,
            max_memory_bytes=limits.max_read_memory_bytes,
            max_result_bytes=limits.max_result_bytes,
        )
        self._name = str(path)
        self._file = Opened(
            path,
            lambda: connect.writer(path, synchronous, limits.max_value_bytes),
            self.cut_reads,
        )

        def reader() -> Reader:
            return Reader(reading, self._standing)

        self._writes = Lane(
            "afterquery-peer-write",
            1,
            lambda: Writer(self._file, path, rules, limits.max_wal_bytes, tally, self.cut_reads),
        )
        self._own_reads = Lane("afterquery-peer-own", ADMIN_READERS, reader)
        self._reads = Lane("afterquery-peer-read", limits.readers, reader)

    def submit(self, text: Text, role: Role) -> Job[Writer] | Job[Reader]:
        """Run a text in its lane; the job's future holds its result as JSON, or an `SqlError`."""
        if role is Role.CLIENT:
            return self._reads.submit(partial(Reader.run, text=text))
        sql = text.query.sql
        if _READ.match(sql) and not _WRITERS_OWN.search(sql):
            return self._own_reads.submit(partial(Reader.run, text=text))
        return self._writes.submit(partial(Writer.run, text=text))

    def close(self, seconds: float) -> None:
        """Finish what was submitted, for at most so long, and close the file.

        Submitting again opens it again.
        """
        deadline = time.monotonic() + seconds
        # The writer goes last: it folds the log into the file.
        self.end_reads(seconds)
        if not self._writes.close(deadline):
            _log.error("a text hangs in one call, and ends with the process")

    def end_reads(self, seconds: float = READS_END_SECONDS) -> None:
        """Finish the reads that were submitted, for at most so long; they can be tried again."""
        deadline = time.monotonic() + min(seconds, READS_END_SECONDS)
        for lane in (self._reads, self._own_reads):
            lane.close(deadline)

    def cut_reads(self) -> None:
        """End the reads that are under way."""
        for runner in (*self._reads.runners(), *self._own_reads.runners()):
            runner.cut()

    def _standing(self) -> Standing:
        """The files that are open for writing, and at the path; a reader must open no others."""
        now = look(self._name)
        if now == self._file.standing:
            return now
        # The writer alone opens the file anew.
        self._writes.submit(Writer.look).future.result()
        standing = self._file.standing
        if standing is None:
            raise SqlError("the file is not open: SQLITE_CANTOPEN", status=503)
        return standing


class Writer:
    """The session that writes, on the file that is at the path."""

    def __init__(
        self,
        file: Opened,
        path: Path,
        rules: Rules,
        max_wal_bytes: int,
        tally: Tally,
        cut_reads: Callable[[], None],
    ) -> None:
        self._file = file
        self._name = str(path)
        self._rules = rules
        self._max_wal_bytes = max_wal_bytes
        self._tally = tally
        self._cut_reads = cut_reads
        self._opened: Session | None = None
        self._ended = threading.Event()
        self._trimmed = -TRIM_SECONDS
        threading.Thread(target=self._watch, name="afterquery-peer-watch", daemon=True).start()

    def run(self, text: Text) -> bytes:
        """The result of a text, or the `SqlError` it met."""
        session = self._session()
        try:
            return session.run(text)
        finally:
            # Of a text that failed, too, a part may have been applied.
            self._file.check()
            self._trim(session.connection)

    def look(self) -> bytes:
        """Open the file that is at the path, if it is not open."""
        self._session()
        return b""

    def cut(self) -> None:
        """A write goes on without its sender, who will ask what became of it."""

    def stop(self) -> None:
        """Stop what is running; from any thread."""
        if self._opened is not None:
            self._opened.connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        self._ended.set()
        self._opened = None
        self._file.close()

    def _session(self) -> Session:
        connection = self._file.connection()
        if self._opened is None or self._opened.connection is not connection:
            self._opened = Session(connection, self._rules, "BEGIN IMMEDIATE")
        return self._opened

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            if (session := self._opened) is not None:
                session.stop_late()

    def _trim(self, connection: sqlite3.Connection) -> None:
        """Begin the log anew where readers have kept it from that for too long."""
        if log_bytes(self._name) < self._max_wal_bytes:
            return
        now = time.monotonic()
        if now - self._trimmed < TRIM_SECONDS:
            return
        self._trimmed = now
        self._tally.bit("max_wal_bytes")
        self._cut_reads()
        try:
            connection.execute("PRAGMA busy_timeout = 200")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            _log.exception("the log could not begin anew")
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(connect.BUSY_SECONDS * 1_000)}")
