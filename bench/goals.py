"""The goals, what was measured, and why where one is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.measure import Numbers

Check = Callable[[Numbers], tuple[str, bool]]
"""What was measured in words, and whether that is enough."""


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    what: str
    goal: str
    scenario: str
    check: Check
    missed: str = ""
    """Why it is missed, where it is, and what it would take."""


def at_most(limit: float, text: str, *path: str) -> Check:
    """The number at `path` is at most `limit`; `text` is how it is said."""
    return lambda found: (text.format(_at(found, path)), _at(found, path) <= limit)


def at_least(limit: float, text: str, *path: str) -> Check:
    return lambda found: (text.format(_at(found, path)), _at(found, path) >= limit)


def _at(found: Numbers, path: tuple[str, ...]) -> float:
    value = found
    for name in path:
        value = value[name]
    assert isinstance(value, (int, float)), path
    return value


def each_of(names: dict[str, str], text: str, check: Callable[[float], bool], key: str) -> Check:
    """The number `key` of every case in `names`, and all of them pass."""

    def run(found: Numbers) -> tuple[str, bool]:
        values = {shown: found[name][key] for name, shown in names.items() if name in found}
        said = ", ".join(f"{shown} {text.format(value)}" for shown, value in values.items())
        return said, all(map(check, values.values()))

    return run


def _starbase(found: Numbers) -> tuple[str, bool]:
    if "starbase_1" not in found:
        return "not measured: no workerd", False
    rates = found["starbase_1"]["writes_per_second"]
    times = rates["ours"] / rates["loop_plain"]
    return f"{times:.1f} × ({rates['ours']:,.0f}/s)", times >= 4


def _latency(found: Numbers) -> tuple[str, bool]:
    ratios = {name: found[name]["ratio"] for name in ("peer_1", "workerd_1") if name in found}
    said = ", ".join(f"{name[:-2]} {r['p50']:.2f} / {r['p99']:.2f}" for name, r in ratios.items())
    return said + " (median / p99)", all(max(r["p50"], r["p99"]) <= 1.2 for r in ratios.values())


def _endpoint(key: str, limit: float) -> Check:
    def run(found: Numbers) -> tuple[str, bool]:
        values = [loads[key] for loads in found["ratios"].values()]
        said = " / ".join(f"{value:.2f}" for value in values)
        return f"{said} × (100/s, half, saturation)", max(values) <= limit

    return run


def _flat(found: Numbers) -> tuple[str, bool]:
    growth, full = found["growth_mib_later"], found["full_mib"][0]
    kept = found["drained_mib"][-1] / full
    said = f"{growth:+.1f} MiB from the first draining to the third; {kept:.0%} of the peak is kept"
    return said, growth <= 0.05 * full and kept <= 0.5


def _recovery(found: Numbers) -> tuple[str, bool]:
    largest = found[max((key for key in found if key.isdigit()), key=int)]
    said = f"{largest['first_seconds']:.2f} s, {largest['peak_mib']:.0f} MiB"
    return said, largest["first_seconds"] < 0.5 and largest["peak_mib"] < 512


MIXED = {"peer_1_mixed": "one peer", "workerd_1_mixed": "one workerd"}
REPLICAS = {"peer_3": "three peers", "workerd_1": "one workerd", "workerd_3": "three workerds"}
DISK = "16 threads reach {:.1f} × one"

GOALS = (
    Goal(
        "`after_query` on a read",
        "at most 3 × an empty call into Rust",
        "read_cost",
        at_most(3, "{:.2f} ×", "ratio"),
        "two arguments are parsed, a fork would be noticed, the text is looked up by address",
    ),
    Goal(
        "`after_query` on a write, back to back, median",
        "under 0.6 µs",
        "write_cost",
        at_most(0.6, "{:.2f} µs", "us", "back_to_back", "p50"),
        "five objects are read and rendered, and three allocations made; docs/performance.md",
    ),
    Goal(
        "the same, p99",
        "under 5 µs",
        "write_cost",
        at_most(5, "{:.1f} µs", "us", "back_to_back", "p99"),
        "the sinks and the delivery share two cores with the caller and the journal's lock with it",
    ),
    Goal(
        "the same at 1,000 a second, p99",
        "under 15 µs",
        "write_cost",
        at_most(15, "{:.1f} µs", "us", "paced_1000", "p99"),
        "nobody is woken, but after a millisecond of sleep the call finds its code and data cold",
    ),
    Goal(
        "event-loop thread, beside aiohttp",
        "at most 1/300",
        "loop_time",
        at_least(300, "1/{:.0f}", "times_ours", "aiohttp_tasks"),
        "follows the cost of a write, above",
    ),
    Goal(
        "event-loop thread, beside httpx",
        "at most 1/3,000",
        "loop_time",
        at_least(3_000, "1/{:.0f}", "times_ours", "httpx_tasks"),
        "follows the cost of a write, above",
    ),
    Goal(
        "settled on three sinks, beside aiohttp",
        "at least 100 ×",
        "sink_throughput",
        at_least(100, "{:.0f} ×", "ours_times", "aiohttp_tasks"),
        "follows the cost of a write, above",
    ),
    Goal(
        "settled on three sinks, beside a Rust loop with the same bytes built",
        "at least 0.5 ×",
        "sink_throughput",
        at_least(0.5, "{:.2f} ×", "ours_times", "bare_loop"),
        "the loop copies 57 prebuilt bytes a write; the calls from Python alone, which the loop "
        "does not make, take far longer: it would take a batch API",
    ),
    Goal(
        "real replicas, beside the same loop",
        "at least 0.7 ×",
        "replica_throughput",
        each_of(REPLICAS, "{:.2f}", lambda ratio: ratio >= 0.7, "ours_of_loop"),
        "the sender shares two cores with the replicas",
    ),
    Goal(
        "what the watermark costs the replica",
        "at most 1.3 ×",
        "replica_throughput",
        each_of(REPLICAS, "{:.2f}", lambda ratio: ratio <= 1.3, "watermark_cost"),
        "the head and a mark for each hundred rows",
    ),
    Goal(
        "the same where no statements can be sent as one",
        "at most 1.3 ×",
        "replica_throughput",
        each_of(MIXED, "{:.2f}", lambda ratio: ratio <= 1.3, "watermark_cost"),
        "a second statement for each write, which SQLite has to compile and run like the first; it "
        "would take a mark that is no statement, and SQLite has none",
    ),
    Goal(
        "behind StarbaseDB's parser, beside plain strings",
        "at least 4 ×",
        "replica_throughput",
        _starbase,
        "the marks after each write",
    ),
    Goal(
        "idle, to settled, beside one bare POST",
        "at most 1.2 ×",
        "latency",
        _latency,
        "three threads wake one after another: the task's, the client's, the caller's",
    ),
    Goal(
        "endpoint, p99",
        "at most 1.05 ×",
        "endpoint",
        _endpoint("p99_us", 1.05),
        "the delivery takes its share of two cores, on which load, application and sinks run too",
    ),
    Goal(
        "endpoint, processor time for each request",
        "at most 1.1 ×",
        "endpoint",
        _endpoint("cpu_us_per_request", 1.1),
        "a lone write is a request to each of three replicas, about 90 µs of an HTTP client that "
        "finds everything cold; from 200 writes a second on they share requests",
    ),
    Goal(
        "endpoint, requests a second at saturation",
        "at least 0.95 ×",
        "endpoint",
        at_least(0.95, "{:.3f} ×", "ratios", "saturation", "requests_per_second"),
        "the delivery takes its share of two cores",
    ),
    Goal(
        "memory for each pending write",
        "under 250 bytes",
        "memory",
        at_most(250, "{:.0f} bytes", "bytes_per_write"),
        "record, text and outcomes have an allocation each",
    ),
    Goal(
        "memory after draining",
        "flat",
        "memory",
        _flat,
        "no growth, but the allocator keeps what was freed",
    ),
    Goal(
        "durability `async`, the call",
        "at most 1.2 × memory",
        "durability",
        at_most(1.2, "{:.2f} ×", "async_call_of_memory"),
    ),
    Goal(
        "durability `process`, the call",
        "median under 12 µs",
        "durability",
        at_most(12, "{:.1f} µs", "cases", "process_1", "p50"),
        "a commit of SQLite's by itself takes 10 µs of it on this machine",
    ),
    Goal(
        "durability `disk`, group commit",
        "16 threads at least 10 × one",
        "durability",
        at_least(10, DISK, "disk_16_threads_of_1"),
        "this disk syncs within 0.1 ms, so that one thread is fast already, and each of sixteen "
        "takes 9 µs to get the interpreter's lock, submit and wait; a slower disk gives more",
    ),
    Goal(
        "journaled, settled writes",
        "at least half of memory's",
        "durability",
        at_least(0.5, "{:.2f} × (async)", "settled_of_memory", "async"),
        "what has left the window of 20,000 writes in memory is read from the file again, once for "
        "each replica; a larger window and one reading for all gave nothing",
    ),
    Goal("recovery", "under 0.5 s, memory bounded", "recovery", _recovery),
    Goal(
        "wheel",
        "under 6 MB",
        "package",
        at_most(6, "{:.1f} MB", "wheel_mb"),
    ),
    Goal(
        "import",
        "under 30 ms",
        "package",
        at_most(30, "{:.0f} ms", "import_ms", "afterquery"),
    ),
)


def judged(results: dict[str, Numbers]) -> Iterator[tuple[Goal, str, str]]:
    """Each goal with what was measured and a verdict: met, missed, or not measured."""
    for goal in GOALS:
        found = results.get(goal.scenario, {"skipped": "not run"})
        if "skipped" in found:
            yield goal, str(found["skipped"]), "not measured"
            continue
        try:
            said, met = goal.check(found)
        except (AssertionError, KeyError):
            yield goal, "not available here", "not measured"
        else:
            yield goal, said, "met" if met else "missed"
