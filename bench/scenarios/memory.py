"""Memory for each pending write, and what is left when everything is delivered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from afterquery import Replicator
from bench.measure import Numbers, apart
from bench.replicas import Sinks, all_fulfilled, replicator, sinks
from bench.workload import WRITE, literal, row

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOM: dict[str, Any] = {
    "max_lag_writes": 1 << 31,
    "max_lag_bytes": 1 << 40,
    "max_pending_writes": 1 << 31,
    "max_pending_bytes": 1 << 40,
}


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def fill_and_drain(writes: int, cycles: int) -> Numbers:
    """Bytes for each write while the replicas are silent, and in all after each draining."""
    with sinks() as sink, replicator(sink.urls, **ROOM) as ours:
        start = resident()
        full, drained = [], []
        for _ in range(cycles):
            full.append(_fill(sink, ours, writes) - start)
            sink.release()
            assert ours.flush(120)
            drained.append(resident() - start)
        all_fulfilled(ours)
    return {
        "writes": writes,
        "text_bytes": len(literal(writes)),
        "bytes_per_write": round(full[0] / writes),
        "full_mib": [round(size / 2**20, 1) for size in full],
        "drained_mib": [round(size / 2**20, 1) for size in drained],
    }


def _fill(sink: Sinks, ours: Replicator, writes: int) -> int:
    sink.hold()
    for n in range(writes):
        ours.after_query(WRITE, row(n), 1)
    return resident()


def run(quick: bool) -> Numbers:
    """Bytes for each pending write, and how memory goes on over several fillings."""
    found: Numbers = apart(fill_and_drain, 100_000 if quick else 1_000_000, 3)
    # The first draining leaves what the allocator keeps; later ones must add nothing to it.
    found["growth_mib_later"] = round(found["drained_mib"][-1] - found["drained_mib"][0], 1)
    return found
