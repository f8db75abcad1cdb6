"""Writes a second that real replicas take from us, beside a bare loop that posts the same bytes.

And the same writes in as many requests without the watermark: what it costs the replica.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import starbase
from bench.measure import Numbers, interleaved, medians
from bench.recording import Recording, plain, record
from bench.replicas import KINDS, all_fulfilled, empty, has_workerd, real, replicator
from bench.tools import run_tool
from bench.workload import TOKEN, WRITE, row
from support.process import ReplicaProcess


def ours(processes: Sequence[ReplicaProcess], writes: int) -> float:
    """Writes a second from the first call to the last outcome."""
    empty(processes)
    with replicator([process.url for process in processes]) as sender:
        begin = time.perf_counter()
        for n in range(writes):
            sender.after_query(WRITE, row(n), 1)
        assert sender.flush(120)
        seconds = time.perf_counter() - begin
        all_fulfilled(sender)
    return writes / seconds


def posted(processes: Sequence[ReplicaProcess], recording: Recording, writes: int) -> float:
    """Writes a second of the bare loop; the replicas must hold them all."""
    empty(processes)
    urls = [process.url for process in processes]
    seconds = float(run_tool("post", recording.path, TOKEN, *urls)["seconds"])
    for process in processes:
        assert process.client().value("SELECT count(*) FROM users") == writes
    return writes / seconds


def measure(
    kind: str, count: int, recorded: Recording, bare: Recording, writes: int, rounds: int
) -> Numbers:
    """One kind of replica, so many of them."""
    with real((KINDS | {"starbase": starbase.ParsingProcess})[kind], count) as processes:
        cases = {
            "ours": partial(ours, processes, writes),
            "loop_same_bytes": partial(posted, processes, recorded, writes),
            "loop_without_watermark": partial(posted, processes, bare, writes),
        }
        found = medians(interleaved(cases, rounds))
    return {
        "writes_per_second": found,
        "ours_of_loop": round(found["ours"] / found["loop_same_bytes"], 3),
        "watermark_cost": round(found["loop_without_watermark"] / found["loop_same_bytes"], 3),
    }


def run(quick: bool) -> Numbers:
    """Our peers; the real storage engine; the same behind StarbaseDB's parser."""
    kinds = [("peer", 1), ("peer", 3)]
    if has_workerd():
        kinds += [("workerd", 1), ("workerd", 3)]
    if starbase.available():
        kinds.append(("starbase", 1))
    writes, rounds = (6_000, 2) if quick else (40_000, 5)
    with tempfile.TemporaryDirectory() as folder:
        recorded = record(Path(folder, "ours"), writes)
        bare = plain(Path(folder, "plain"), recorded, writes)
        return {
            f"{kind}_{count}": measure(kind, count, recorded, bare, writes, rounds)
            for kind, count in kinds
        }
