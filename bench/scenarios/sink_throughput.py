"""Writes a second until every one has its outcome on three sinks: ours, the rivals, a bare loop."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import ROOT
from bench.measure import Numbers, apart, interleaved, medians
from bench.recording import record
from bench.replicas import all_fulfilled, replicator, sinks
from bench.rivals.drive import measure
from bench.tools import run_tool
from bench.workload import TOKEN, WRITE, row

WRITES = {
    "ours": 150_000,
    "batcher": 10_000,
    "aiohttp_tasks": 2_000,
    "httpx_thread": 500,
    "requests_thread": 500,
    "httpx_tasks": 200,
}
NODE = "node_plugin"
NODE_WRITES = 1_500


def delivered(name: str, writes: int, urls: list[str]) -> Numbers:
    """Writes a second, and microseconds of processor time for each."""
    if name != NODE:
        return _numbers(apart(measure, name, writes, urls))
    script = ROOT / "bench/rivals/node_plugin.mjs"
    command = ["node", str(script), str(writes), *urls]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return _numbers(json.loads(done.stdout))


def _numbers(found: Numbers) -> Numbers:
    return {
        "writes_per_second": found["writes"] / found["seconds"],
        "cpu_us_per_write": found["process_seconds"] / found["writes"] * 1e6,
        "failed": found["failed"],
    }


def checked(name: str, writes: int) -> Numbers:
    """The same on fresh sinks, which must have got everything: ten writes more to warm up."""
    with sinks() as sink:
        found = delivered(name, writes, sink.urls)
        got = sink.writes()
    assert got == 3 * (writes + 10), f"{name}: {got} of {3 * writes} arrived"
    return found


def drained(writes: int) -> Numbers:
    """Ours without the caller's time: everything was handed over before the first could be sent."""
    with sinks() as sink, replicator(sink.urls) as ours:
        sink.hold()
        for n in range(writes):
            ours.after_query(WRITE, row(n), 1)
        begin = time.perf_counter()
        sink.release()
        assert ours.flush(60)
        seconds = time.perf_counter() - begin
        all_fulfilled(ours)
    return {"writes_per_second": writes / seconds}


def bare_loop(path: Path, writes: int) -> Numbers:
    """A Rust loop that posts what we posted, built beforehand."""
    with sinks() as sink:
        found = run_tool("post", path, TOKEN, *sink.urls)
        assert sink.writes() == 3 * writes
    return {"writes_per_second": writes / found["seconds"]}


def run(quick: bool) -> Numbers:
    """For each sender: writes a second, processor time for each."""
    times = 1 if quick else 4
    writes = {name: times * count for name, count in WRITES.items()}
    if shutil.which("node"):
        writes[NODE] = times * NODE_WRITES
    else:
        print("SKIPPED: the original plugin's way: Node is not installed", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recorded")
        record(path, writes["ours"])
        cases: dict[str, Callable[[], Numbers]] = {
            name: partial(checked, name, count) for name, count in writes.items()
        }
        cases["ours_drained"] = partial(drained, writes["ours"])
        cases["bare_loop"] = partial(bare_loop, path, writes["ours"])
        found = medians(interleaved(cases, 2 if quick else 5))
    rate = {name: numbers["writes_per_second"] for name, numbers in found.items()}
    ratios = {name: round(rate["ours"] / rate[name], 3) for name in rate if name != "ours"}
    return {"senders": found, "ours_times": ratios}
