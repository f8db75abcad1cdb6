"""What the application was told and when, in a file that survives its death.

One `write` to a file opened for appending is one line: what SIGKILL cannot take back.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from afterquery import Outcome, Replication, Stats

TAIL_BYTES = 20_000

FEW = 100
"""Writes that are on their way to the journal at any moment."""


@dataclass(frozen=True)
class Handed:
    """`after_query` returned for write `k`."""

    k: int
    origin: str
    seq: int
    unsaved: int
    problem: bool
    at: float
    """On the monotonic clock."""

    def promised(self, durability: str) -> int:
        """The writes of this origin up to this one must survive a SIGKILL from here on."""
        if durability == "async" or self.problem:
            return self.seq - self.unsaved
        return self.seq


@dataclass(frozen=True)
class Known:
    """An outcome was there for write `k`."""

    k: int
    replica: str
    status: str
    reason: str | None


@dataclass(frozen=True)
class Ends:
    """A child goes an end that the documentation promises for: nothing up to `promised` is lost."""

    origin: str
    promised: int


Line = Handed | Known | Ends


class Teller:
    """Writes the file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def handed(self, k: int, replication: Replication, stats: Stats) -> None:
        problem = stats.journal_problem is not None
        origin, seq = replication.origin, replication.seq
        self._tell(Handed(k, origin, seq, stats.unsaved, problem, time.monotonic()))

    def known(self, k: int, outcome: Outcome) -> None:
        self._tell(Known(k, outcome.replica, outcome.status, outcome.reason))

    def ends(self, replication: Replication) -> None:
        self._tell(Ends(replication.origin, replication.seq))

    def _tell(self, line: Line) -> None:
        os.write(self._file, json.dumps(asdict(line)).encode() + b"\n")


def read(path: Path) -> Iterator[Line]:
    """The lines of the file."""
    for line in path.read_bytes().splitlines():
        fields = json.loads(line)
        kind = Handed if "seq" in fields else Known if "status" in fields else Ends
        yield kind(**fields)


def is_saved(path: Path) -> bool:
    """Whether by the newest `Handed` everything was in the journal, and no disk was failing."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().splitlines()[1:-1]
    handed = [fields for fields in map(json.loads, lines) if "seq" in fields]
    return bool(handed) and not handed[-1]["problem"] and handed[-1]["unsaved"] < FEW
