"""Processor time on the event loop's thread for each write delivered to three replicas."""

from __future__ import annotations

from functools import partial

from bench.measure import Numbers, apart, interleaved, medians
from bench.replicas import sinks
from bench.rivals.drive import measure

WRITES = {"ours": 50_000, "aiohttp_tasks": 2_000, "httpx_tasks": 300, "batcher": 5_000}


def micros_of_loop(name: str, writes: int, urls: list[str]) -> float:
    """Microseconds of the loop's thread for each write."""
    found = measure(name, writes, urls)
    assert found["failed"] == 0, found
    return float(found["loop_seconds"]) / writes * 1e6


def run(quick: bool) -> Numbers:
    """Microseconds of the loop's thread for each write, and how many times ours the rivals take."""
    with sinks() as sink:
        cases = {
            name: partial(apart, micros_of_loop, name, count if quick else 3 * count, sink.urls)
            for name, count in WRITES.items()
        }
        found = medians(interleaved(cases, 3 if quick else 5))
    ratios = {name: round(value / found["ours"]) for name, value in found.items() if name != "ours"}
    return {"us": found, "times_ours": ratios}
