"""What the outbox costs a commit, against the bare library and a followed connection, in one run.

A file in WAL mode with synchronous=NORMAL, and with FULL, where each commit waits for the disk;
rounds of the three are interleaved, and the medians of their times compared.
"""

from __future__ import annotations

import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import afterquery.sqlite3
from afterquery import Replicator
from afterquery.outbox import delete_through

ROUNDS = 15
COMMITS = 100
INSERT = "INSERT INTO users (name, email, score, note) VALUES (?, ?, ?, ?)"
ROW = ("Ada Lovelace", "ada@example.com", 1.5, None)
SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, name, email, score REAL, note)"


def transactions(db: sqlite3.Connection, statements: int) -> float:
    """Microseconds for each transaction of so many statements."""
    start = time.perf_counter()
    for _ in range(COMMITS):
        db.execute("BEGIN IMMEDIATE")
        for _ in range(statements):
            db.execute(INSERT, ROW)
        db.execute("COMMIT")
    return (time.perf_counter() - start) / COMMITS * 1e6


def compare(folder: Path, synchronous: str, replicator: Replicator) -> None:
    kinds = {
        "sqlite3": sqlite3.connect(folder / "bare.db", isolation_level=None),
        "followed": afterquery.sqlite3.connect(
            folder / "followed.db", replicator=replicator, isolation_level=None
        ),
        "outbox": afterquery.sqlite3.connect(
            folder / "outbox.db", outbox=True, isolation_level=None
        ),
    }
    for db in kinds.values():
        mode = f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}"
        db.executescript(f"{mode}; DROP TABLE IF EXISTS users; {SCHEMA}")
    for statements in (1, 10):
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, db in kinds.items():
                times[kind].append(transactions(db, statements))
            delete_through(kinds["outbox"], 2**62)  # as a relay does
        medians = "".join(f"{statistics.median(found):10.1f} µs" for found in times.values())
        print(f"{f'synchronous={synchronous}, {statements} INSERTs':<32}{medians}")
    for db in kinds.values():
        db.close()


def main() -> None:
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()},")
    print(f"SQLite {sqlite3.sqlite_version}, medians of {ROUNDS} rounds of {COMMITS} commits\n")
    print(f"{'for each commit':<32}{'sqlite3':>13}{'followed':>13}{'outbox':>13}")
    # A replica that is not there, and a short journal: what is measured is the caller's time.
    replicator = Replicator(["http://127.0.0.1:9"], auth_token="bench", max_lag_writes=1_000)
    with tempfile.TemporaryDirectory() as folder:
        for synchronous in ("NORMAL", "FULL"):
            compare(Path(folder), synchronous, replicator)
    replicator.close(0)


main()
