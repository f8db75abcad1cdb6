"""A process ended with writes pending: how long until the next one delivers the first of them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial

from afterquery import Replica, Replicator
from bench.journaled import has_journal, settings, skipped
from bench.measure import Numbers, apart, interleaved, medians
from bench.replicas import sinks
from bench.scenarios.memory import ROOM, resident
from bench.workload import TOKEN, WRITE, row

NOBODY = "http://127.0.0.1:9"
"""The discard port: nothing answers there."""

FILL = (
    "import sys; from bench.scenarios.recovery import leave; leave(sys.argv[1], int(sys.argv[2]))"
)


def leave(folder: str, writes: int) -> None:
    """Journal so many writes that no replica gets, and end as a crash does."""
    ours = Replicator([NOBODY], auth_token=TOKEN, **ROOM, **settings("process", folder))
    for n in range(writes):
        ours.after_query(WRITE, row(n), 1)
    os._exit(0)


def recover(folder: str, url: str, writes: int) -> Numbers:
    """Seconds to the first delivered write and to the last; memory at most, in MiB."""
    before = resident()
    begin = time.perf_counter()
    # The same replica at its new address: its name is what the journal knows it by.
    replica = Replica(url, name=NOBODY)
    with Replicator([replica], auth_token=TOKEN, **ROOM, **settings("process", folder)) as ours:
        while not ours.stats().replicas[0].fulfilled:
            time.sleep(0.000_5)
        first = time.perf_counter() - begin
        assert ours.flush(120)
        last = time.perf_counter() - begin
        assert ours.stats().replicas[0].fulfilled == writes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"first_seconds": first, "all_seconds": last, "peak_mib": (peak - before) / 2**20}


def once(writes: int) -> Numbers:
    with tempfile.TemporaryDirectory() as folder, sinks(1) as sink:
        subprocess.run([sys.executable, "-c", FILL, folder, str(writes)], check=True)
        found: Numbers = apart(recover, folder, sink.urls[0], writes)
    return found


def run(quick: bool) -> Numbers:
    """Seconds and MiB, by the number of writes pending."""
    if not has_journal():
        return skipped("recovery")
    sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    rounds = 1 if quick else 3
    return medians(interleaved({str(size): partial(once, size) for size in sizes}, rounds))
