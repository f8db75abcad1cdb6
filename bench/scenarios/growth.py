"""How costs grow: with replicas, threads, the size of a statement, and the number of texts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

from bench.measure import Numbers, apart, each, interleaved, medians, micros
from bench.replicas import all_fulfilled, replicator, sinks
from bench.scenarios.memory import ROOM
from bench.workload import WRITE, row

REPLICAS = (1, 2, 4, 8, 16, 32, 64)
THREADS = (1, 2, 4, 8, 16, 32, 64)
SIZES = (10, 100, 1_000, 10_000, 30_000, 40_000, 100_000, 1_000_000)
TEXTS = (1, 10, 100, 1_000, 2_000, 2_500, 4_000, 10_000, 100_000)


def _settle(count: int, write: Callable[[int], object], replicas: int = 3) -> Numbers:
    """Microseconds a call, and writes a second until all have their outcomes."""
    with sinks(replicas) as sink, replicator(sink.urls, **ROOM) as ours:
        begin = time.perf_counter()
        times = each(partial(_call, ours.after_query, write), count)
        assert ours.flush(120)
        seconds = time.perf_counter() - begin
        all_fulfilled(ours)
    return {**micros(times), "settled_per_second": count / seconds}


def _call(after_query: Callable[..., object], write: Callable[[int], object], n: int) -> None:
    after_query(*write(n), 1)  # type: ignore[misc]


def by_replicas(replicas: int, writes: int) -> Numbers:
    return _settle(writes, lambda n: (WRITE, row(n)), replicas)


def by_size(size: int, budget: int) -> Numbers:
    """A write whose one parameter makes its text about `size` bytes."""
    sql = "INSERT INTO users VALUES (?)"
    value = "x" * max(1, size - len(sql))
    return _settle(max(20, min(20_000, budget // size)), lambda _: (sql, (value,)))


def by_texts(texts: int, writes: int) -> Numbers:
    """Writes that take turns among so many texts; each was met once before."""
    sqls = [f"INSERT INTO users (id, name) VALUES (?, 'number {n}')" for n in range(texts)]
    with sinks() as sink, replicator(sink.urls, **ROOM) as ours:
        for sql in sqls:
            ours.after_query(sql, (0,), 1)
        assert ours.flush(120)
        sink.hold()
        source = iter(islice(cycle(sqls), writes))
        times = each(lambda n: ours.after_query(next(source), (n,), 1), writes)
        sink.release()
        assert ours.flush(120)
    return micros(times)


def by_threads(threads: int, writes: int) -> Numbers:
    """So many threads share the writes among them."""
    times: list[int] = []
    with sinks() as sink, replicator(sink.urls, **ROOM) as ours:

        def work() -> None:
            times.extend(each(lambda n: ours.after_query(WRITE, row(n), 1), writes // threads))

        workers = [threading.Thread(target=work) for _ in range(threads)]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        called = time.perf_counter() - begin
        assert ours.flush(120)
        seconds = time.perf_counter() - begin
        all_fulfilled(ours)
    return {
        **micros(times),
        "calls_per_second": len(times) / called,
        "settled_per_second": len(times) / seconds,
    }


def _curve(
    measure: Callable[[int, int], Numbers], points: Sequence[int], work: int, rounds: int
) -> Numbers:
    cases = {str(point): partial(apart, measure, point, work) for point in points}
    return medians(interleaved(cases, rounds))


def run(quick: bool) -> Numbers:
    """Four curves, each point in a process of its own."""
    rounds, scale = (1, 1) if quick else (3, 4)

    def thin(points: Sequence[int], step: int) -> Sequence[int]:
        return points[::step] if quick else points

    return {
        "replicas": _curve(by_replicas, thin(REPLICAS, 3), 10_000 * scale, rounds),
        "threads": _curve(by_threads, thin(THREADS, 3), 20_000 * scale, rounds),
        "bytes": _curve(by_size, thin(SIZES, 2), 10_000_000 * scale, rounds),
        "texts": _curve(by_texts, thin(TEXTS, 2), 10_000 * scale, rounds),
    }
