"""An `executemany` that is under way, and the user's rows that it runs for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import starmap
from typing import TYPE_CHECKING, Any

from afterquery._binding import Rows

if TYPE_CHECKING:
    from typing_extensions import Self

    from afterquery._mixed import Verdict
    from afterquery.sqlite3._follower import Follower


class Many:
    """An `executemany` that is under way."""

    def __init__(self, connection: sqlite3.Connection, sql: str, rows: Rows) -> None:
        self.connection = connection
        self.sql = sql
        self.rows = rows
        self.over = False
        """Whether it has ended: nothing is gathered for it any more."""
        self.asked = False
        """Whether it was asked what a row that failed has left."""
        self.whole = False
        """Whether all rows so far are those to be gathered."""
        self.taking: list[Any] = []
        """Rows on their way into the gathering, which they may have reached..."""
        self.at = 0
        """...if this mark of it is passed."""
        self.verdict: Verdict | None = None
        """Where replication is mixed."""


class Unlocked:
    """Rows of the user's: while they are waited for, other threads may use the connection, as with
    bare `sqlite3`."""

    def __init__(self, follower: Follower, rows: Iterator[Any]) -> None:
        self._follower = follower
        self._lock: Any = follower.lock
        self._rows = rows

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        given_up: list[Any] = []
        try:
            self._follower.writing = False
            given_up.extend(starmap(self._lock._release_save, ((),)))
            return next(self._rows)
        finally:
            try:
                self._back(given_up)
            except BaseException:  # a signal handler's
                self._back(given_up)
                raise

    def _back(self, given_up: list[Any]) -> None:
        if given_up and not self._lock._is_owned():
            self._lock._acquire_restore(given_up[0])
        self._follower.writing = True
        self._follower.others_ran()
