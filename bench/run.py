"""Runs scenarios and keeps what they found: `python -m bench.run [--quick] [NAME ...]`.

Without a name: all of them, and the report.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path

from bench import ROOT
from bench.environment import describe, refuse_debug

RESULTS = ROOT / "bench" / "results"

SCENARIOS = (
    "read_cost",
    "write_cost",
    "loop_time",
    "ceilings",
    "sink_throughput",
    "replica_throughput",
    "latency",
    "endpoint",
    "memory",
    "durability",
    "recovery",
    "growth",
    "package",
)
APART = ("demo",)
"""Only run when named: they take minutes."""


def folder(*, quick: bool) -> Path:
    """Quick rounds are for looking; they must not pass for results."""
    return RESULTS / "quick" if quick else RESULTS


def run(name: str, *, quick: bool) -> None:
    """Runs one scenario, prints what it found and keeps it."""
    print(f"=== {name}", flush=True)
    begin = time.perf_counter()
    found = importlib.import_module(f"bench.scenarios.{name}").run(quick)
    took = time.perf_counter() - begin
    text = json.dumps({"took_seconds": round(took, 1), **found}, indent=2)
    (folder(quick=quick) / f"{name}.json").write_text(text + "\n")
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS + APART))
    parser.add_argument("--quick", action="store_true", help="short rounds, kept apart")
    options = parser.parse_args()
    unknown = set(options.names) - set(SCENARIOS) - set(APART)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    refuse_debug()
    place = folder(quick=options.quick)
    place.mkdir(parents=True, exist_ok=True)
    about = describe(quick=options.quick)
    (place / "environment.json").write_text(json.dumps(about, indent=2) + "\n")
    begin = time.perf_counter()
    for name in options.names or SCENARIOS:
        run(name, quick=options.quick)
    print(f"=== all in {time.perf_counter() - begin:.0f} s")
    if not options.names:
        report = importlib.import_module("bench.report")
        print(f"=== {report.render(place, quick=options.quick)}")


if __name__ == "__main__":
    main()
