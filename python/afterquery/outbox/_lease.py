"""Exactly one relay at a time: a lease in the database, by the clock of the database."""

from __future__ import annotations

import sqlite3

from afterquery.outbox._table import NOW, transaction


def acquire(connection: sqlite3.Connection, holder: str, seconds: float) -> bool:
    """Take the lease for so long, where nobody has it, it ran out, or it is the holder's own.

    `holder` names whoever takes it, and nobody else; `seconds` is the time. Returns whether it
    did; raises `sqlite3.Error`.
    """
    return _update(
        connection,
        f"UPDATE afterquery_relay SET holder = :holder, expires = {NOW} + :seconds"
        f" WHERE holder IS NULL OR holder = :holder OR expires <= {NOW}",
        {"holder": holder, "seconds": seconds},
    )


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
