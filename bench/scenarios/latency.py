"""One write in an idle system: until it is settled, beside one bare POST of the same text."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.measure import Numbers, interleaved, medians, micros
from bench.recording import Recording, record_singles
from bench.replicas import KINDS, empty, has_workerd, real, replicator, sinks
from bench.tools import run_tool
from bench.workload import TOKEN, WRITE, row
from support.process import ReplicaProcess

GAP_MICROSECONDS = 2_000
"""How long nothing happens before each write: idle is when nobody is awake."""


def ours(urls: Sequence[str], processes: Sequence[ReplicaProcess], writes: int) -> Numbers:
    """Microseconds from the call to the last outcome."""
    empty(processes)
    times = []
    with replicator(urls) as sender:
        for n in range(writes):
            time.sleep(GAP_MICROSECONDS / 1e6)
            begin = time.perf_counter_ns()
            replication = sender.after_query(WRITE, row(n), 1)
            assert replication is not None
            replication.wait(30)
            times.append(time.perf_counter_ns() - begin)
    return micros(times)


def posted(
    urls: Sequence[str], processes: Sequence[ReplicaProcess], recording: Recording
) -> Numbers:
    """Microseconds of one POST on a connection that was kept."""
    empty(processes)
    return run_tool("post", recording.path, TOKEN, "--gap", GAP_MICROSECONDS, *urls)


@contextmanager
def replicas(kind: str, count: int) -> Iterator[tuple[list[str], list[ReplicaProcess]]]:
    """URLs, and the processes that have to be emptied between rounds."""
    if kind == "sink":
        with sinks(count) as sink:
            yield sink.urls, []
    else:
        with real(KINDS[kind], count) as processes:
            yield [process.url for process in processes], processes


def measure(kind: str, count: int, recording: Recording, writes: int, rounds: int) -> Numbers:
    """One kind of replica, so many of them."""
    with replicas(kind, count) as (urls, processes):
        cases = {
            "ours": partial(ours, urls, processes, writes),
            "post": partial(posted, urls, processes, recording),
        }
        if kind == "sink":
            # It knows the row that was recorded only when it is new.
            cases["post"] = partial(_on_fresh_sinks, count, recording)
        found = medians(interleaved(cases, rounds))
    ratio = {part: round(found["ours"][part] / found["post"][part], 2) for part in ("p50", "p99")}
    return {"us": found, "ratio": ratio}


def _on_fresh_sinks(count: int, recording: Recording) -> Numbers:
    with sinks(count) as sink:
        return posted(sink.urls, [], recording)


def run(quick: bool) -> Numbers:
    """Microseconds, and our time as a multiple of the POST's."""
    kinds = [("sink", 1), ("peer", 1)]
    if has_workerd():
        kinds.append(("workerd", 1))
    writes, rounds = (150, 2) if quick else (500, 5)
    with tempfile.TemporaryDirectory() as folder:
        recording = record_singles(Path(folder, "singles"), writes)
        return {
            f"{kind}_{count}": measure(kind, count, recording, writes, rounds)
            for kind, count in kinds
        }
