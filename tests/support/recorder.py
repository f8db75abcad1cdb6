"""A replicator that keeps what it is given, to be run on another database."""

from __future__ import annotations

import sqlite3
import threading
from copy import copy
from dataclasses import dataclass, field
from typing import Any, cast

from afterquery import Replicator

Call = tuple[str, Any, bool]
"""A statement, its parameters, and whether they are many rows."""


@dataclass(eq=False)
class RecordedTransaction:
    """Stands for `afterquery.Transaction`."""

    recorder: Recorder
    calls: list[Call] = field(default_factory=list)
    replication: RecordedReplication | None = None

    def after_query(
        self, sql: str, params: Any = None, result: Any = None, *, many: bool = False
    ) -> None:
        del result
        self.calls.append((sql, copy(params), many))

    def savepoint(self) -> int:
        return len(self.calls)

    def rollback_to(self, savepoint: int) -> None:
        assert savepoint <= len(self.calls)
        del self.calls[savepoint:]

    def rollback(self) -> None:
        self.calls.clear()

    def commit(self) -> RecordedReplication:
        calls, self.calls = self.calls, []
        self.replication = self.recorder.submit(calls)
        return self.replication

    def __len__(self) -> int:
        return len(self.calls)

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True)
class RecordedReplication:
    """Stands for `afterquery.Replication`."""

    seq: int


@dataclass(eq=False)
class Recorder:
    """Stands for `afterquery.Replicator`."""

    writes: list[list[Call]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def transaction(self) -> RecordedTransaction:
        return RecordedTransaction(self)

    def before_query(self, sql: str, params: Any = None, **numbers: int) -> tuple[str, Any]:
        del numbers
        return sql, params

    def after_query(self, sql: str) -> None:
        self.counted.append(sql)

    def submit(self, calls: list[Call]) -> RecordedReplication:
        with self.lock:
            self.writes.append(calls)
            return RecordedReplication(len(self.writes))

    def as_replicator(self) -> Replicator:
        return cast("Replicator", self)

    def replay(self, connection: sqlite3.Connection) -> None:
        """Run the writes, each as a transaction, as a replica does; forget them."""
        writes, self.writes = self.writes, []
        for calls in writes:
            connection.execute("BEGIN")
            for sql, params, many in calls:
                _run(connection, sql, params, many)
            connection.execute("COMMIT")


def _run(connection: sqlite3.Connection, sql: str, params: Any, many: bool) -> None:
    try:
        if many:
            connection.executemany(sql, params)
        else:
            connection.execute(sql, params).fetchall()
    except sqlite3.IntegrityError:
        # Failed on the primary too, with a part of it done.
        assert "OR FAIL" in sql
