"""What a journal on disk costs: the call, the rate of calls, and the rate of settled writes."""

from __future__ import annotations

import tempfile
import threading
import time
from functools import partial

from afterquery import Replicator
from bench.journaled import DURABILITIES, has_journal, settings, skipped
from bench.measure import Numbers, apart, each, interleaved, medians, micros
from bench.replicas import all_fulfilled, replicator, sinks
from bench.workload import WRITE, row

THREADS = (1, 4, 16)


def calls(durability: str, threads: int, seconds: float) -> Numbers:
    """Microseconds a call, calls a second of all threads together, settled writes a second."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sinks() as sink,
        replicator(sink.urls, **settings(durability, folder)) as ours,
    ):
        times: list[int] = []
        begin = time.perf_counter()
        _on_threads(ours, threads, begin + seconds, times)
        called = time.perf_counter() - begin
        assert ours.flush(120)
        settled = time.perf_counter() - begin
        all_fulfilled(ours)
    return {
        **micros(times),
        "calls_per_second": len(times) / called,
        "settled_per_second": len(times) / settled,
    }


def _on_threads(ours: Replicator, threads: int, end: float, times: list[int]) -> None:
    def work(number: int) -> None:
        found: list[int] = []
        while time.perf_counter() < end:
            found += each(lambda n: ours.after_query(WRITE, row(n), 1), 10, number)
        times.extend(found)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def run(quick: bool) -> Numbers:
    """Memory beside each durability, on 1, 4 and 16 threads."""
    if not has_journal():
        return skipped("durability")
    seconds, rounds = (0.3, 1) if quick else (1.0, 3)
    cases = {
        f"{durability}_{threads}": partial(apart, calls, durability, threads, seconds)
        for durability in ("memory", *DURABILITIES)
        for threads in THREADS
    }
    found = medians(interleaved(cases, rounds))
    call = {name: numbers["p50"] for name, numbers in found.items()}
    rate = {name: numbers["calls_per_second"] for name, numbers in found.items()}
    settled = {name: numbers["settled_per_second"] for name, numbers in found.items()}
    return {
        "cases": found,
        "async_call_of_memory": round(call["async_1"] / call["memory_1"], 2),
        "disk_16_threads_of_1": round(rate["disk_16"] / rate["disk_1"], 2),
        "settled_of_memory": {
            durability: round(settled[f"{durability}_1"] / settled["memory_1"], 2)
            for durability in DURABILITIES
        },
    }
