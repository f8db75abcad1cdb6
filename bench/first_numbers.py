"""What `after_query` costs its caller, and how fast three peers of ours take the writes.

Run by `make bench`. Times are medians of this one run; compare ratios, not runs.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import afterquery
from afterquery import Replicator

TOKEN = "bench"
READ = "SELECT id, name, email FROM users WHERE id = ?"
WRITE = "INSERT INTO users (id, name, email, score, note) VALUES (?, ?, ?, ?, ?)"
SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, name, email, score REAL, note)"
PEER = """
import sys
from afterquery.peer.serve import serve
serve(sys.argv[1], "127.0.0.1", 0, sys.argv[2])
"""


def row(n: int) -> tuple[object, ...]:
    return (n, "Ada Lovelace", "ada@example.com", 1.5, None)


def each(call: Callable[[int], object], count: int) -> list[int]:
    """Nanoseconds of each of `count` calls, sorted."""
    clock = time.perf_counter_ns
    times = []
    for n in range(count):
        start = clock()
        call(n)
        times.append(clock() - start)
    return sorted(times)


def paced(call: Callable[[int], object], count: int, per_second: int) -> list[int]:
    """The same, one call at a time at a steady pace, as requests come in."""
    times = []
    begin = time.perf_counter()
    for n in range(count):
        while time.perf_counter() < begin + n / per_second:
            time.sleep(0.000_2)
        times += each(lambda _, n=n: call(n), 1)
    return sorted(times)


def show(name: str, times: list[int], floor: int = 0) -> None:
    median, p99 = (max(0, times[len(times) * part // 100] - floor) for part in (50, 99))
    print(f"{name:<44} {median / 1000:9.2f} µs {p99 / 1000:9.2f} µs")


@contextmanager
def three_peers() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        urls = []
        for number in range(3):
            db = Path(folder, f"{number}.db")
            with sqlite3.connect(db) as connection:
                connection.execute(SCHEMA)
            connection.close()
            command = [sys.executable, "-u", "-c", PEER, str(db), TOKEN]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            processes.append(process)
            assert process.stdout is not None
            urls.append(process.stdout.readline().split()[-1])
        try:
            yield urls
        finally:
            for process in processes:
                process.terminate()
                process.wait()


def nothing(_: int) -> None:
    """The floor: what a call in Python costs by itself."""


def main() -> None:
    if afterquery._core.__profile__ != "release":
        sys.exit("this is a debug build: run `make bench`")
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()},", end=" ")
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},", end=" ")
    print(f"afterquery {afterquery.__version__}\n\n{'':<44} {'median':>12} {'p99':>12}")
    floor = each(nothing, 200_000)[100_000]
    with three_peers() as urls, Replicator(urls, auth_token=TOKEN) as replicator:
        call = replicator.after_query

        def write(n: int) -> object:
            return call(WRITE, row(n), 1)

        call(WRITE, row(-1), 1).wait(30)
        show("an empty Python function", each(nothing, 200_000))
        show("after_query, a read", each(lambda n: call(READ, (n,)), 200_000), floor)
        show("after_query, a write, 1,000 a second", paced(write, 3_000, 1_000), floor)
        replicator.flush(60)
        start = time.perf_counter()
        times = each(lambda n: write(3_000 + n), 100_000)
        show("after_query, a write, back to back", times, floor)
        assert replicator.flush(120)
        rate = 100_000 / (time.perf_counter() - start)
        settled = each(lambda n: call(WRITE, row(200_000 + n), 1).wait(30), 500)
        show("one write, until it is settled on all three", settled)
        print(f"\nsettled on three peers on the same machine: {rate:,.0f} writes/s")


main()
