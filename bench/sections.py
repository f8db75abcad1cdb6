"""The sections of the page: the numbers of a scenario as tables, with a picture where one helps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import charts
from bench.charts import label
from bench.measure import Numbers

Render = Callable[[Numbers, Path], list[str]]


@dataclass(frozen=True)
class Section:
    scenario: str
    title: str
    render: Render


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def picture(name: str, text: str) -> str:
    return f"![{text}](images/{name}.png)"


def read_cost(found: Numbers, _: Path) -> list[str]:
    names = {
        "empty_python_call": "a Python method that does nothing",
        "empty_rust_call": "a method in Rust that does nothing",
        "read": "`after_query(sql, params)` on a read",
        "read_with_result": "`after_query(sql, params, result)` on a read",
    }
    return [table(("", "ns"), [(shown, found["ns"][name]) for name, shown in names.items()])]


def write_cost(found: Numbers, _: Path) -> list[str]:
    names = {
        "back_to_back_held": "back to back, the replicas silent",
        "back_to_back": "back to back, while it is delivered to three sinks",
        "paced_1000": "1,000 a second, as requests come",
    }
    rows = [
        (shown, found["us"][name]["p50"], found["us"][name]["p99"]) for name, shown in names.items()
    ]
    return [table(("a write of five parameters, its handle included", "median µs", "p99 µs"), rows)]


def loop_time(found: Numbers, images: Path) -> list[str]:
    charts.bars(
        images / "loop_time.png",
        found["us"],
        "Time on the event loop's thread for each write",
        "µs, logarithmic",
    )
    times = {"ours": 1, **found["times_ours"]}
    rows = [(label(name), found["us"][name], f"{times[name]:,} ×") for name in found["us"]]
    return [
        picture("loop_time", "event-loop time for each write"),
        table(("", "µs", "times ours"), rows),
    ]


def ceilings(found: Numbers, _: Path) -> list[str]:
    rates = found["writes_per_second"]
    rows = [
        (
            "a Rust loop that posts prebuilt plain batches to three sinks",
            rates["loop_plain_to_three_sinks"],
        ),
        (
            "SQLite alone, plain statements, one synced transaction a text",
            rates["sqlite_plain"],
        ),
        ("SQLite alone, our text without the watermark", rates["sqlite_without_watermark"]),
        ("SQLite alone, our text, the same", rates["sqlite_ours"]),
    ]
    wrk = found["wrk_requests_per_second"]
    said = (
        f"`wrk` gets {wrk:,.0f} requests a second from one sink."
        if wrk
        else "`wrk` is not installed here."
    )
    return [table(("", "writes/s"), rows), said]


def _times(value: float) -> str:
    return f"{value:,.0f} ×" if value >= 100 else f"{value:.3g} ×"


def sink_throughput(found: Numbers, images: Path) -> list[str]:
    senders = found["senders"]
    rates = {name: numbers["writes_per_second"] for name, numbers in senders.items()}
    charts.bars(
        images / "sink_throughput.png",
        rates,
        "Writes a second, each with its outcome on three sinks",
        "writes/s, logarithmic",
    )
    rows = [
        (
            label(name),
            rates[name],
            senders[name].get("cpu_us_per_write", ""),
            _times(found["ours_times"].get(name, 1)),
        )
        for name in sorted(rates, key=lambda name: -rates[name])
    ]
    return [
        picture("sink_throughput", "writes a second on three sinks"),
        table(("", "writes/s", "µs of processor time a write", "ours reaches"), rows),
    ]


KINDS = {
    "peer_1": "one peer",
    "peer_3": "three peers",
    "workerd_1": "one workerd",
    "workerd_3": "three workerds",
    "starbase_1": "workerd behind StarbaseDB's parser",
    "peer_1_mixed": "one peer, mixed",
    "workerd_1_mixed": "one workerd, mixed",
    "starbase_1_mixed": "workerd behind StarbaseDB's parser, mixed",
}


MIXED = """*Mixed* is INSERT, UPDATE and DELETE in turns, where no two statements can be sent as
one; all else is one INSERT with other values. *Plain statements* are what a careful person would
send: as many as fit into a text, each by itself, with no watermark."""


def replica_throughput(found: Numbers, images: Path) -> list[str]:
    kinds = {name: shown for name, shown in KINDS.items() if name in found}
    values = {
        shown.replace("workerd behind StarbaseDB's ", "StarbaseDB's\n").replace(", ", ",\n"): found[
            name
        ]["writes_per_second"]
        for name, shown in kinds.items()
    }
    charts.groups(
        images / "replica_throughput.png",
        values,
        "Writes a second on real replicas",
        "writes/s",
        log=False,
    )
    rows = [
        (
            shown,
            *found[name]["writes_per_second"].values(),
            found[name]["ours_of_loop"],
            found[name]["watermark_cost"],
            found[name]["ours_of_plain"],
        )
        for name, shown in kinds.items()
    ]
    heads = (
        "",
        "ours",
        "loop, same bytes",
        "loop, no watermark",
        "loop, plain statements",
        "ours of the loop",
        "watermark costs ×",
        "ours of plain",
    )
    return [
        picture("replica_throughput", "writes a second on real replicas"),
        MIXED,
        table(heads, rows),
    ]


def latency(found: Numbers, _: Path) -> list[str]:
    rows = [
        (
            {"sink_1": "sink", **KINDS}[name],
            found[name]["us"]["ours"]["p50"],
            found[name]["us"]["ours"]["p99"],
            found[name]["us"]["post"]["p50"],
            found[name]["us"]["post"]["p99"],
            found[name]["ratio"]["p50"],
        )
        for name in ("sink_1", "peer_1", "workerd_1")
        if name in found
    ]
    heads = ("", "ours, median µs", "p99", "bare POST, median µs", "p99", "ratio")
    return [table(heads, rows)]


LOADS = {"100_per_second": "100/s", "half": "half of saturation", "saturation": "saturation"}


def endpoint(found: Numbers, images: Path) -> list[str]:
    loads = found["loads"]
    p99 = {
        shown: {how: n["p99_us"] / 1000 for how, n in loads[name].items()}
        for name, shown in LOADS.items()
    }
    charts.groups(
        images / "endpoint.png",
        p99,
        "FastAPI endpoint: p99 as a client sees it",
        "ms, logarithmic",
        log=True,
    )
    rows = [
        (
            shown,
            label(how),
            n["requests_per_second"],
            n["p50_us"] / 1000,
            n["p99_us"] / 1000,
            n["lag_p99_us"] / 1000,
            n["cpu_us_per_request"],
        )
        for name, shown in LOADS.items()
        for how, n in loads[name].items()
    ]
    heads = (
        "load",
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "loop lag p99 ms",
        "µs of processor time a request",
    )
    return [picture("endpoint", "p99 of an endpoint"), table(heads, rows)]


def memory(found: Numbers, _: Path) -> list[str]:
    rows = [
        (f"filling {number}", full, drained)
        for number, (full, drained) in enumerate(
            zip(found["full_mib"], found["drained_mib"], strict=True), 1
        )
    ]
    text = (
        f"{found['writes']:,} pending writes of {found['text_bytes']} bytes of text: "
        f"{found['bytes_per_write']} bytes each."
    )
    return [text, table(("more than at the start, MiB", "full", "drained"), rows)]


def durability(found: Numbers, _: Path) -> list[str]:
    rows = [
        (*name.split("_"), n["p50"], n["p99"], n["calls_per_second"], n["settled_per_second"])
        for name, n in found["cases"].items()
    ]
    return [table(("durability", "threads", "median µs", "p99 µs", "calls/s", "settled/s"), rows)]


def recovery(found: Numbers, _: Path) -> list[str]:
    rows = [
        (int(size), n["first_seconds"], n["all_seconds"], n["peak_mib"])
        for size, n in found.items()
        if size.isdigit()
    ]
    return [
        table(("pending writes", "s to the first delivery", "s to the last", "MiB at most"), rows)
    ]


KNEES = """The knees: a value beyond 32,000 bytes no longer fits a literal and goes ahead of its
statement, in pieces; beyond 2,048 texts in turns the cache of plans forgets each before it comes
again, and it is classified anew; more replicas have their texts built and sent by the same
thread; more threads share one interpreter lock."""


def growth(found: Numbers, images: Path) -> list[str]:
    charts.curves(images / "growth.png", found)
    return [
        picture("growth", "how costs grow"),
        KNEES,
    ]


def package(found: Numbers, _: Path) -> list[str]:
    rows = [(name, ms) for name, ms in found["import_ms"].items()]
    wheel = (
        f"The wheel takes {found['wheel_mb']} MB"
        if found["wheel_mb"]
        else "No wheel was built here"
    )
    return [f"{wheel}; the core inside {found['core_mb']} MB.", table(("import", "ms"), rows)]


def demo(found: Numbers, _: Path) -> list[str]:
    cold, warm = found["cold_seconds"], found["warm_seconds"]
    beside = found.get("beside")
    said = f" while {beside} ran on the same cores" if beside else ""
    return [f"From a fresh clone {cold:.0f} s, its second run {warm:.0f} s{said}."]


SECTIONS = (
    Section("read_cost", "What a read pays", read_cost),
    Section("write_cost", "What a write pays", write_cost),
    Section("loop_time", "The event loop", loop_time),
    Section("ceilings", "What this machine can do at all", ceilings),
    Section("sink_throughput", "Throughput", sink_throughput),
    Section("replica_throughput", "Real replicas", replica_throughput),
    Section("latency", "One write in an idle system", latency),
    Section("endpoint", "A FastAPI endpoint under load", endpoint),
    Section("memory", "Memory", memory),
    Section("durability", "Durability", durability),
    Section("recovery", "Recovery", recovery),
    Section("growth", "How costs grow", growth),
    Section("package", "The package", package),
    Section("demo", "`make demo`", demo),
)
