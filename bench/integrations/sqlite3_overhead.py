"""What `afterquery.sqlite3` costs a statement, against the bare library, in one run.

Rounds of both are interleaved, and the medians of their times compared: ratios hold where single
times do not. In memory, so that no disk hides the difference; `file` shows what is left of it where
each commit is synced.
"""

from __future__ import annotations

import gc
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import afterquery
import afterquery.sqlite3
from afterquery import Replicator

ROUNDS = 41
SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, name, email, score REAL, note)"
INSERT = "INSERT INTO users (name, email, score, note) VALUES (?, ?, ?, ?)"
ROW = ("Ada Lovelace", "ada@example.com", 1.5, None)
Case = Callable[[sqlite3.Connection], int]
"""Runs some statements and returns how many."""


def reads(db: sqlite3.Connection) -> int:
    for number in range(1_000):
        db.execute("SELECT id, name, email FROM users WHERE id = ?", (number,)).fetchone()
    return 1_000


def long_read(db: sqlite3.Connection) -> int:
    sql = "WITH c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 5000) SELECT n FROM c"
    return sum(1 for _ in db.execute(sql))


def inserts(db: sqlite3.Connection) -> int:
    db.execute("BEGIN")
    for _ in range(1_000):
        db.execute(INSERT, ROW)
    db.execute("COMMIT")
    return 1_000


def many(db: sqlite3.Connection) -> int:
    db.execute("BEGIN")
    db.executemany(INSERT, [ROW] * 1_000)
    db.execute("COMMIT")
    return 1_000


def autocommit(db: sqlite3.Connection) -> int:
    for _ in range(200):
        db.execute(INSERT, ROW)
    return 200


def transactions(db: sqlite3.Connection) -> int:
    for _ in range(100):
        db.execute("BEGIN")
        db.execute(INSERT, ROW)
        db.execute("UPDATE users SET score = 2.5 WHERE id = last_insert_rowid()")
        db.execute("COMMIT")
    return 400


CASES: dict[str, Case] = {
    "SELECT by key": reads,
    "one row of a long SELECT": long_read,
    "INSERT in a transaction": inserts,
    "one row of executemany": many,
    "INSERT by itself": autocommit,
    "BEGIN, INSERT, UPDATE, COMMIT": transactions,
}


def microseconds(case: Case, db: sqlite3.Connection) -> float:
    db.execute("DELETE FROM users")
    gc.collect()
    start = time.perf_counter()
    count = case(db)
    return (time.perf_counter() - start) / count * 1e6


def compare(name: str, case: Case, bare: sqlite3.Connection, ours: sqlite3.Connection) -> None:
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(ROUNDS):
        for followed in (True, False) if number % 2 else (False, True):
            times[followed].append(microseconds(case, ours if followed else bare))
    before, after = statistics.median(times[False]), statistics.median(times[True])
    more = f"{after - before:+8.2f} µs  ×{after / before:.2f}"
    print(f"{name:<40} {before:8.2f} µs {after:8.2f} µs {more}")


def main() -> None:
    if afterquery._core.__profile__ != "release":
        sys.exit("this is a debug build: run `make bench`")
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()},")
    print(f"SQLite {sqlite3.sqlite_version}, medians of {ROUNDS} rounds\n")
    print(f"{'for each statement':<40} {'sqlite3':>11} {'afterquery':>11} {'more':>11}")
    # A replica that is not there, and a limit that keeps the journal short: what is measured is
    # the caller's time.
    settings = {"auth_token": "bench", "max_lag_writes": 1_000}
    with tempfile.TemporaryDirectory() as folder:
        replicator = Replicator(["http://127.0.0.1:9"], **settings)  # type: ignore[arg-type]
        for kind in ("memory", "file"):
            paths = [":memory:"] * 2 if kind == "memory" else [Path(folder, n) for n in "ab"]
            bare = sqlite3.connect(paths[0], isolation_level=None)
            ours = afterquery.sqlite3.connect(paths[1], replicator=replicator, isolation_level=None)
            for db in (bare, ours):
                db.executescript(
                    f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {SCHEMA}"
                )
            for name, case in CASES.items():
                compare(f"{name} ({kind})", case, bare, ours)
            bare.close()
            ours.close()
        replicator.close(0)


main()
