"""`after_query` on a write of five parameters, its handle included: what the request pays."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from afterquery import Replicator
from bench.measure import Numbers, each, floor, interleaved, medians, micros, paced
from bench.replicas import Sinks, all_fulfilled, replicator, sinks
from bench.workload import WRITE, row

BURST = 20_000


def run(quick: bool) -> Numbers:
    """Microseconds a call: back to back while it is delivered and while it is not, and paced."""
    rounds = 3 if quick else 11
    with sinks() as sink, replicator(sink.urls) as ours:
        # What was made before this is not what a request makes the collector look at.
        gc.collect()
        gc.freeze()
        base = floor()
        cases = _cases(ours, sink, base, 1_000 if quick else 3_000)
        found = medians(interleaved(cases, rounds))
        all_fulfilled(ours)
    return {"us": found, "clock_and_loop_ns": round(base)}


def _cases(
    ours: Replicator, sink: Sinks, base: float, paced_calls: int
) -> dict[str, Callable[[], Any]]:
    rows = [row(n) for n in range(BURST)]

    def write(n: int) -> object:
        return ours.after_query(WRITE, rows[n % BURST], 1)

    def burst() -> Numbers:
        times = each(write, BURST)
        assert ours.flush(60)
        return micros(times, base)

    def undisturbed() -> Numbers:
        sink.hold()
        write(0)
        times = each(write, BURST)
        sink.release()
        assert ours.flush(60)
        return micros(times, base)

    def at_a_pace() -> Numbers:
        times = paced(write, paced_calls, 1_000)
        assert ours.flush(60)
        return micros(times, base)

    return {"back_to_back": burst, "back_to_back_held": undisturbed, "paced_1000": at_a_pace}
