"""Writes a second that real replicas take from us, beside a bare loop that posts the same bytes.

And beside that loop without the watermark, and with plain statements: what each costs the replica.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import starbase
from bench.measure import Numbers, interleaved, medians
from bench.recording import Recording, plain, record, without_watermark
from bench.replicas import KINDS, all_fulfilled, empty, has_workerd, real, replicator
from bench.tools import run_tool
from bench.workload import INSERTS, MIXED, TOKEN, Workload
from support.process import ReplicaProcess


@dataclass(frozen=True)
class Texts:
    """The same writes as we send them, without the watermark, and as plain statements."""

    workload: Workload
    writes: int
    ours: Recording
    bare: Recording
    plain: Recording


def prepare(folder: Path, workload: Workload, writes: int) -> Texts:
    """All requests, built before anything is measured."""
    path = folder / workload.name
    ours = record(path.with_suffix(".ours"), writes, workload)
    bare = without_watermark(path.with_suffix(".bare"), ours)
    return Texts(workload, writes, ours, bare, plain(path.with_suffix(".plain"), writes, workload))


def ours(processes: Sequence[ReplicaProcess], texts: Texts) -> float:
    """Writes a second from the first call to the last outcome."""
    empty(processes)
    with replicator([process.url for process in processes]) as sender:
        begin = time.perf_counter()
        for n in range(texts.writes):
            sender.after_query(*texts.workload.write(n), 1)
        assert sender.flush(120)
        seconds = time.perf_counter() - begin
        all_fulfilled(sender)
    return texts.writes / seconds


def posted(processes: Sequence[ReplicaProcess], recording: Recording, texts: Texts) -> float:
    """Writes a second of the bare loop; the replicas must hold them all."""
    empty(processes)
    urls = [process.url for process in processes]
    seconds = float(run_tool("post", recording.path, TOKEN, *urls)["seconds"])
    for process in processes:
        rows = process.client().value("SELECT count(*) FROM users")
        assert rows == texts.workload.rows(texts.writes), rows
    return texts.writes / seconds


def measure(kind: str, count: int, texts: Texts, rounds: int) -> Numbers:
    """One kind of replica, so many of them."""
    with real((KINDS | {"starbase": starbase.ParsingProcess})[kind], count) as processes:
        cases = {
            "ours": partial(ours, processes, texts),
            "loop_same_bytes": partial(posted, processes, texts.ours, texts),
            "loop_without_watermark": partial(posted, processes, texts.bare, texts),
            "loop_plain": partial(posted, processes, texts.plain, texts),
        }
        found = medians(interleaved(cases, rounds))
    return {
        "writes_per_second": found,
        "ours_of_loop": round(found["ours"] / found["loop_same_bytes"], 3),
        "watermark_cost": round(found["loop_without_watermark"] / found["loop_same_bytes"], 3),
        "ours_of_plain": round(found["ours"] / found["loop_plain"], 3),
    }


def run(quick: bool) -> Numbers:
    """Our peers; the real storage engine; the same behind StarbaseDB's parser."""
    kinds = [("peer", 1), ("peer", 3)]
    if has_workerd():
        kinds += [("workerd", 1), ("workerd", 3)]
    if starbase.available():
        kinds.append(("starbase", 1))
    writes, rounds = (6_000, 2) if quick else (30_000, 5)
    with tempfile.TemporaryDirectory() as name:
        inserts = prepare(Path(name), INSERTS, writes)
        mixed = prepare(Path(name), MIXED, writes)
        found = {f"{kind}_{count}": measure(kind, count, inserts, rounds) for kind, count in kinds}
        alone = [kind for kind in kinds if kind[1] == 1]
        return found | {
            f"{kind}_{count}_mixed": measure(kind, count, mixed, rounds) for kind, count in alone
        }
