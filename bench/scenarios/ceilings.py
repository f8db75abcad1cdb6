"""What the parts of this machine can do at all: the sink, a bare loop, SQLite by itself."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.measure import Numbers, interleaved, medians
from bench.recording import Recording, plain, record, texts, without_watermark
from bench.replicas import sinks
from bench.tools import run_tool
from bench.workload import SCHEMA, TOKEN


def sqlite_alone(recording: Recording, path: Path) -> float:
    """Seconds that Python's SQLite takes for the texts: one transaction each, synced."""
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + SCHEMA)
    handshake, *batches = texts(recording)
    database.executescript(handshake)
    scripts = [f"BEGIN;{batch};COMMIT" for batch in batches]
    begin = time.perf_counter()
    for script in scripts:
        database.executescript(script)
    seconds = time.perf_counter() - begin
    database.close()
    return seconds


def requests_of_wrk(url: str, seconds: int, folder: Path) -> float | None:
    """Requests a second that the sink answers; None without wrk."""
    if shutil.which("wrk") is None:
        print("SKIPPED: wrk is not installed (Debian: apt install wrk)", flush=True)
        return None
    script = folder / "post.lua"
    body = '{"sql":"INSERT INTO users VALUES (1)"}'
    script.write_text(f"wrk.method = 'POST'\nwrk.body = '{body}'\n")
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), f"{url}/query"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


def run(quick: bool) -> Numbers:
    """Writes a second of each, with our text and with the bare statements."""
    writes = 20_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as name, sinks() as sink:
        folder = Path(name)
        ours = record(folder / "ours", writes)
        bare = without_watermark(folder / "bare", ours)
        separate = plain(folder / "plain", writes)
        files = iter(range(1_000))

        def alone(recording: Recording) -> float:
            return writes / sqlite_alone(recording, folder / f"{next(files)}.db")

        def loop() -> float:
            # A sink expects each text once; a plain one it takes as often as it comes.
            return writes / float(run_tool("post", separate.path, TOKEN, *sink.urls)["seconds"])

        cases: dict[str, Callable[[], float]] = {
            "sqlite_ours": partial(alone, ours),
            "sqlite_without_watermark": partial(alone, bare),
            "sqlite_plain": partial(alone, separate),
            "loop_plain_to_three_sinks": loop,
        }
        found = medians(interleaved(cases, 3 if quick else 7))
        wrk = requests_of_wrk(sink.urls[0], 1 if quick else 5, folder)
    return {
        "writes_per_second": found,
        "wrk_requests_per_second": wrk,
        "watermark_cost_in_sqlite": round(
            found["sqlite_without_watermark"] / found["sqlite_ours"], 3
        ),
        "writes_per_request": round(writes / (ours.requests - 1), 1),
    }
