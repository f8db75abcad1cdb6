"""Exactly one relay at a time: a lease in the database, by the clock of the database."""

from __future__ import annotations

import sqlite3
import time

from afterquery.outbox._table import NOW, transaction

_FREE = f"(holder IS NULL OR holder = :holder OR expires <= {NOW})"


def is_free(connection: sqlite3.Connection, holder: str) -> bool:
    """Whether `acquire` would succeed; it waits for no lock. Raises `sqlite3.Error`."""
    sql = f"SELECT 1 FROM afterquery_relay WHERE {_FREE}"
    row = sqlite3.Cursor(connection).execute(sql, {"holder": holder}).fetchone()
    return row is not None


def acquire(connection: sqlite3.Connection, holder: str, seconds: float) -> bool:
    """Take the lease for so long, where nobody has it, it ran out, or it is the holder's own.

    `holder` names whoever takes it, and nobody else; `seconds` is the time. Returns whether it
    did; raises `sqlite3.Error`.
    """
    return _update(
        connection,
        f"UPDATE afterquery_relay SET holder = :holder, expires = {NOW} + :seconds WHERE {_FREE}",
        {"holder": holder, "seconds": seconds},
    )


def seen(connection: sqlite3.Connection) -> tuple[str | None, float]:
    """Who has the lease, and until when. Raises `sqlite3.Error`."""
    sql = "SELECT holder, expires FROM afterquery_relay"
    row: tuple[str | None, float] = sqlite3.Cursor(connection).execute(sql).fetchone()
    return row


def seize(
    connection: sqlite3.Connection, holder: str, seconds: float, since: tuple[str | None, float]
) -> bool:
    """Take the lease from one that has not renewed it `since` it was last seen so.

    Its end is a time of day: where the clock was set back, a dead holder would keep it for as long.
    Returns whether it was taken; raises `sqlite3.Error`.
    """
    return _update(
        connection,
        f"UPDATE afterquery_relay SET holder = :holder, expires = {NOW} + :seconds"
        " WHERE holder IS :before AND expires = :expires",
        {"holder": holder, "seconds": seconds, "before": since[0], "expires": since[1]},
    )


class Watch:
    """Tells a holder that lives from one that is dead, by this machine's steady clock: one that
    lives renews its lease."""

    def __init__(self, connection: sqlite3.Connection, seconds: float) -> None:
        self.last = seen(connection)
        self._seconds = seconds
        self._since = time.monotonic()

    def is_dead(self, connection: sqlite3.Connection) -> bool:
        """Whether the lease has not changed for so many seconds. Raises `sqlite3.Error`."""
        now = seen(connection)
        if now != self.last:
            self.last, self._since = now, time.monotonic()
        return now[0] is not None and time.monotonic() - self._since >= self._seconds


def renew(connection: sqlite3.Connection, holder: str, seconds: float) -> bool:
    """Keep the lease for so long from now; False if it ran out, or is another's by now."""
    return _update(
        connection,
        f"UPDATE afterquery_relay SET expires = {NOW} + :seconds"
        f" WHERE holder = :holder AND expires > {NOW}",
        {"holder": holder, "seconds": seconds},
    )


def release(connection: sqlite3.Connection, holder: str) -> bool:
    """Give the lease back; False if it is not the holder's."""
    return _update(
        connection,
        "UPDATE afterquery_relay SET holder = NULL, expires = 0 WHERE holder = :holder",
        {"holder": holder},
    )


def _update(connection: sqlite3.Connection, sql: str, parameters: dict[str, object]) -> bool:
    with transaction(connection) as cursor:
        cursor.execute(sql, parameters)
        return cursor.rowcount == 1
