"""A primary that `afterquery.sqlite3` follows, in the place of `mixed.world.Primary`."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any, NamedTuple

import afterquery.sqlite3
from afterquery import classify
from afterquery._failures import failures
from afterquery._mixed import Kind, Mixed
from mixed.world import Bare, Connection, Cursor, Sent, prepare
from support.recorder import Recorder


class _Explained(NamedTuple):
    replicated: bool


class _Recorder(Recorder):
    def explain(self, sql: str) -> _Explained:
        return _Explained(all(one.schema is None for one in classify(sql).statements))


class Followed:
    """The connection, and what it submitted."""

    def __init__(self, isolation_level: Any) -> None:
        self.recorder = _Recorder()
        self.db: Any = afterquery.sqlite3.connect(
            ":memory:",
            replicator=self.recorder.as_replicator(),
            replication="mixed",
            factory=Connection,
            isolation_level=isolation_level,
        )
        prepare(self.db)
        self.kinds: Counter[Kind] = Counter()
        self.savepoints: list[str] = []
        self._failed = sum(failures.counts().values())

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> Cursor:
        cursor: Cursor = self.db.execute(sql, parameters)
        cursor.rows = cursor.fetchall()
        found = classify(sql).statements[0]
        if found.kind == "txn":
            self._moved(found.verb, found.savepoint)
        return cursor

    def _moved(self, verb: str, name: str | None) -> None:
        if verb == "SAVEPOINT" and name:
            self.savepoints.append(name)
        elif name:
            at = len(self.savepoints) - self.savepoints[::-1].index(name)
            del self.savepoints[at if verb == "ROLLBACK" else at - 1 :]

    def settle(self) -> None:
        """Nothing is open any more."""
        self.savepoints = []

    @property
    def mixed(self) -> Mixed:
        """What the connection is followed by."""
        found: Mixed = self.db._follower.mixed._mixed
        return found

    @property
    def committed(self) -> list[Sent]:
        """What was submitted since it was asked last."""
        calls = [call for write in self.recorder.writes for call in write]
        self.recorder.writes.clear()
        return [
            (sql, row) for sql, given, many in calls for row in (given if many else [given or ()])
        ]

    @property
    def doubts(self) -> list[str]:
        """What went wrong in the integration."""
        counts = failures.counts()
        return list(counts) if sum(counts.values()) > self._failed else []


class BareLike(Bare):
    """The standard library's, with the same isolation level."""

    def __init__(self, isolation_level: Any) -> None:
        self.db = sqlite3.connect(":memory:", factory=Connection, isolation_level=isolation_level)
        prepare(self.db)
