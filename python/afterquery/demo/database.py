"""The application's own database, and the one place that calls `after_query`."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from afterquery import Replicator

Run = Callable[..., list[sqlite3.Row]]

# The prefix keeps a real database, given with --replica-url, safe from what is dropped here.
TABLES = {
    "demo_users": """(
        id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE COLLATE NOCASE,
        name TEXT NOT NULL, visits INTEGER NOT NULL DEFAULT 0, seen TEXT)""",
    "demo_accounts": "(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))",
    "demo_orders": """(
        id INTEGER PRIMARY KEY, total REAL NOT NULL,
        user_id INTEGER NOT NULL REFERENCES demo_users (id) ON DELETE CASCADE)""",
    "demo_items": """(
        order_id INTEGER NOT NULL REFERENCES demo_orders (id) ON DELETE CASCADE,
        line INTEGER NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL CHECK (quantity > 0),
        PRIMARY KEY (order_id, line)) WITHOUT ROWID""",
    "demo_samples": "(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, value)",
    "demo_settings": "(key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "demo_events": "(id INTEGER PRIMARY KEY, day TEXT NOT NULL, payload BLOB)",
    "demo_deleted": "(id INTEGER PRIMARY KEY, email TEXT NOT NULL)",
}
TRIGGER = """CREATE TRIGGER demo_keep_deleted AFTER DELETE ON demo_users
    BEGIN INSERT INTO demo_deleted (email) VALUES (old.email); END"""


class Database:
    """One connection, used by one event loop: what commits first reaches `after_query` first."""

    def __init__(self, path: Path, replicator: Replicator) -> None:
        self.replicator = replicator
        self.took: dict[str, array[int]] = {"write": array("Q"), "read": array("Q")}
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")

    def create(self) -> None:
        for table in reversed(TABLES):
            self.run(f"DROP TABLE IF EXISTS {table}")
        for table, columns in TABLES.items():
            self.run(f"CREATE TABLE {table} {columns}")
        self.run(TRIGGER)
        self.run(
            "INSERT INTO demo_accounts (id, balance) VALUES (?, ?)",
            [(number, 1000) for number in range(1, 11)],
            many=True,
        )

    def run(self, sql: str, params: Any = (), *, many: bool = False) -> list[sqlite3.Row]:
        """One statement, committed on its own. A failing one never gets to `after_query`."""
        if many:  # sqlite3 would leave the rows before a failing one in place
            with self.transaction() as run:
                return run(sql, params, many=True)
        return self._run(self.replicator.after_query, sql, params)

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """Several statements: all of them on the primary and every replica, or none anywhere."""
        with self.replicator.transaction() as replicated:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield partial(self._run, replicated.after_query)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()

    def _run(
        self, after_query: Callable[..., object], sql: str, params: Any, *, many: bool = False
    ) -> list[sqlite3.Row]:
        execute = self._connection.executemany if many else self._connection.execute
        cursor = execute(sql, params)
        rows = cursor.fetchall()
        began = perf_counter_ns()
        after_query(sql, params, cursor, many=many)
        took = perf_counter_ns() - began
        self.took["read" if sql.startswith(("SELECT", "WITH spent")) else "write"].append(took)
        return rows
