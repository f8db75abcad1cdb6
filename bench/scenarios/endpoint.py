"""A FastAPI endpoint under steady load: with and without replication, and with rivals."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from bench.measure import Numbers, interleaved, medians
from bench.replicas import sinks
from bench.tools import run_tool

WAYS = {
    "none": "users",
    "ours": "users",
    "aiohttp_tasks": "users",
    "background_httpx": "background",
}
"""How it replicates, and the path that does so."""

BODY = '{"name": "Ada Lovelace"}'
CONNECTIONS = 16


@contextmanager
def served(how: str, database: Path, urls: list[str]) -> Iterator[str]:
    """The application in a process of its own; its URL."""
    command = [sys.executable, "-m", "bench.endpoint_app", how, str(database), *urls]
    with subprocess.Popen(command, stdout=-1, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def numbers(url: str) -> dict[str, float]:
    """What the application measured since it was asked last, once everything is delivered."""
    with urlopen(f"{url}/numbers", timeout=120) as answer:
        found: dict[str, float] = json.load(answer)
    return found


def under_load(url: str, path: str, seconds: float, rate: float | None) -> Numbers:
    """Latency as a client sees it, how late the loop is, processor time for each request."""
    before = numbers(url)
    options = ["--rate", rate] if rate else []
    address = f"{url}/{path}"
    load = run_tool(
        "load", address, BODY, "--seconds", seconds, "--connections", CONNECTIONS, *options
    )
    assert load["errors"] == 0, load
    after = numbers(url)
    return {
        "requests_per_second": load["requests"] / load["seconds"],
        "p50_us": load["p50"],
        "p99_us": load["p99"],
        "lag_p50_us": after["lag_p50_us"],
        "lag_p99_us": after["lag_p99_us"],
        "cpu_us_per_request": (after["cpu_seconds"] - before["cpu_seconds"])
        / load["requests"]
        * 1e6,
        "failed": after["failed"] - before["failed"],
    }


def run(quick: bool) -> Numbers:
    """For each load and each way: the client's latency, the loop's lag, the process's time."""
    seconds, rounds = (1.0, 1) if quick else (3.0, 5)
    with tempfile.TemporaryDirectory() as folder, sinks() as sink, ExitStack() as stack:
        urls = {
            how: stack.enter_context(served(how, Path(folder, f"{how}.db"), sink.urls))
            for how in WAYS
        }

        def at(rate: float | None) -> Numbers:
            cases = {
                how: partial(under_load, urls[how], path, seconds, rate)
                for how, path in WAYS.items()
            }
            return medians(interleaved(cases, rounds))

        saturation = at(None)
        half = saturation["none"]["requests_per_second"] / 2
        found = {"100_per_second": at(100), "half": at(half), "saturation": saturation}
    return {"half_rate": round(half), "loads": found, "ratios": _ratios(found)}


def _ratios(found: Numbers) -> Numbers:
    """Ours as a multiple of the same without replication."""
    ratios = {}
    for load, ways in found.items():
        none, ours = ways["none"], ways["ours"]
        ratios[load] = {key: round(ours[key] / none[key], 3) for key in none if none[key]}
    return ratios
