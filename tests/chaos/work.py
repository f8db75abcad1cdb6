"""What the application writes: each statement leaves a trace on a replica.

A trigger there notes every statement that ran, in order, so a write that is lost, applied twice,
torn or out of order shows by its number and not only by a sum that is wrong.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

LANES = 4
"""Rows that are counted up. Writes of different lanes commute, those of one do not."""

CHILDREN = 60
"""How many children of the application there may be, each with a lane of its own."""

Kind = Literal["count", "log", "many", "transaction", "large", "rejected", "half rejected"]

_TABLES = f"""
CREATE TABLE lane (id INTEGER PRIMARY KEY, n INT, h INT, k INT, step INT);
WITH RECURSIVE ids(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids LIMIT {LANES + CHILDREN})
INSERT INTO lane SELECT id, 0, 1, 0, 0 FROM ids;
"""

PRIMARY = f"""{_TABLES}
CREATE TABLE log (n INTEGER PRIMARY KEY, k INT, step INT, v);
CREATE TABLE commits (k INTEGER PRIMARY KEY, run INT, lane INT, kind TEXT, size INT);
"""
"""`commits` is the application's own: it never hands it over."""

TRACE = """
CREATE TABLE trace (n INTEGER PRIMARY KEY, k INT, step INT);
CREATE TRIGGER counted AFTER UPDATE ON lane
BEGIN INSERT INTO trace (k, step) VALUES (new.k, new.step); END;
CREATE TRIGGER logged AFTER INSERT ON log
BEGIN INSERT INTO trace (k, step) VALUES (new.k, new.step); END;
"""

REPLICA = f"""{_TABLES}
CREATE TABLE log (n INTEGER PRIMARY KEY, k INT, step INT, v CHECK (v <> 'forbidden'));
{TRACE}"""

COPIED = f"""{TRACE}
CREATE TRIGGER forbids BEFORE INSERT ON log WHEN new.v = 'forbidden'
BEGIN SELECT RAISE(ABORT, 'forbidden'); END;
"""
"""What makes a copy of the primary a replica that is watched."""

COUNT = "UPDATE lane SET n = n + 1, h = (h * 31 + ?) % 1000003, k = ?, step = ? WHERE id = ?"
LOG = "INSERT INTO log (k, step, v) VALUES (?, ?, ?)"
FORBIDDEN = "forbidden"

KINDS: Mapping[Kind, float] = {
    "count": 40,
    "log": 25,
    "many": 10,
    "transaction": 20,
    "large": 0.6,
    "rejected": 1,
    "half rejected": 1,
}
"""How often each occurs."""

Statement = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Spec:
    """One write, as the primary's table `commits` keeps it."""

    k: int
    run: int
    lane: int
    kind: Kind
    size: int

    def statements(self) -> list[Statement]:
        """What it does, in order; the place of a statement in it is its step."""
        match self.kind:
            case "count":
                return [self._count(0)]
            case "log":
                return [self._log(0, "é'☃" * self.size)]
            case "large":
                large = bytes(range(256)) * self.size if self.k % 2 else "ab'ü" * 64 * self.size
                return [self._log(0, large)]
            case "many":
                return [self._log(step, self.size) for step in range(self.size)]
            case "transaction":
                both = (self._count, lambda step: self._log(step, None))
                return [both[step % 2](step) for step in range(self.size)]
            case "rejected":
                return [self._log(0, FORBIDDEN), self._count(1)]
            case "half rejected":
                return [self._count(0), self._log(1, FORBIDDEN), self._count(2)]

    def applied(self) -> int:
        """How many of its statements a replica keeps: those before the one that fails there."""
        values = [params[-1] for _, params in self.statements()]
        return values.index(FORBIDDEN) if FORBIDDEN in values else len(values)

    @property
    def is_rejected(self) -> bool:
        return "rejected" in self.kind

    def _count(self, step: int) -> Statement:
        return COUNT, (self.k, self.k, step, self.lane)

    def _log(self, step: int, value: object) -> Statement:
        return LOG, (self.k, step, value)


def choose(chance: random.Random) -> tuple[Kind, int]:
    """The kind and the size of the next write."""
    kind = chance.choices([*KINDS], [*KINDS.values()])[0]
    sizes = {"log": (0, 20), "many": (1, 6), "transaction": (2, 9), "large": (50, 600)}
    low, high = sizes.get(kind, (0, 0))
    return kind, chance.randint(low, high)


def specs(primary: sqlite3.Connection) -> dict[int, Spec]:
    """Every write that the primary committed, by number."""
    rows = primary.execute("SELECT k, run, lane, kind, size FROM commits")
    return {row[0]: Spec(*row) for row in rows}


def model(writes: list[Spec], image: Path | None = None) -> sqlite3.Connection:
    """A replica that got `writes` in this order, each once; `image` is what it was copied from."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    if image is None:
        database.executescript(REPLICA)
    else:
        with closing(sqlite3.connect(image)) as copied:
            copied.backup(database)
        database.executescript(COPIED)
    for write in writes:
        for sql, params in write.statements()[: write.applied()]:
            database.execute(sql, params)
    return database
