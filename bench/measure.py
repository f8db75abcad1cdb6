"""Times, and how they are taken: in turns, several rounds, on the clock that never goes back."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Numbers = dict[str, Any]


def percentile(times: Sequence[float], part: float) -> float:
    """The value that `part` percent of `times` lie below."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))]


def micros(nanoseconds: Sequence[float], floor: float = 0.0) -> Numbers:
    """Median and p99 in microseconds, less `floor` nanoseconds that the measuring itself takes."""
    shown = {
        part: round(max(0.0, percentile(nanoseconds, number) - floor) / 1000, 3)
        for part, number in (("p50", 50), ("p99", 99))
    }
    return {**shown, "count": len(nanoseconds)}


def each(call: Callable[[int], object], count: int, first: int = 0) -> list[int]:
    """Nanoseconds of each of `count` calls."""
    clock = time.perf_counter_ns
    times = []
    for n in range(first, first + count):
        start = clock()
        call(n)
        times.append(clock() - start)
    return times


def paced(call: Callable[[int], object], count: int, per_second: int, first: int = 0) -> list[int]:
    """The same, one call at a time at a steady pace, as requests come in."""
    times = []
    begin = time.perf_counter()
    for n in range(count):
        time.sleep(max(0.0, begin + n / per_second - time.perf_counter()))
        times += each(call, 1, first + n)
    return times


def nothing(_: int) -> None:
    """What a call in Python and reading the clock cost by themselves."""


def floor() -> float:
    """Nanoseconds that `each` finds for a function that does nothing."""
    return statistics.median(each(nothing, 20_000))


def tight(statement: str, names: Mapping[str, object], count: int = 100_000) -> float:
    """Nanoseconds of one run of `statement` in a loop, without the loop."""

    def run(code: str) -> float:
        return timeit.Timer(code, globals=dict(names)).timeit(count)

    return (run(statement) - run("pass")) / count * 1e9


def interleaved(cases: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Every case once a round, so that a slow minute of the machine is slow for all of them."""
    found: dict[str, list[Any]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        # Another order each time: being first, or after a certain other one, must not matter.
        at = number % len(names)
        for name in names[at:] + names[:at]:
            found[name].append(cases[name]())
    return found


def medians(found: Mapping[str, Sequence[Any]]) -> Numbers:
    """The median of each case; of each number in it where a case gives several."""
    return {name: _median(values) for name, values in found.items()}


def _median(values: Sequence[Any]) -> Any:
    if isinstance(values[0], dict):
        keys = [key for key, value in values[0].items() if isinstance(value, (int, float))]
        return {key: _median([value[key] for value in values]) for key in keys}
    return round(statistics.median(values), 6)


def apart(function: Callable[..., Any], *arguments: object) -> Any:
    """`function(*arguments)` in a process of its own: fresh memory, no threads of others."""
    code = (
        f"import json, sys; from {function.__module__} import {function.__name__} as function; "
        "print(json.dumps(function(*json.loads(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
