"""What it costs to have it: the wheel, and importing it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import afterquery
from bench.measure import Numbers, interleaved, medians
from bench.tools import TARGET

TIMED = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


def import_milliseconds(module: str) -> float:
    """Milliseconds of `import module` in a fresh interpreter."""
    command = [sys.executable, "-c", TIMED.format(module)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout) * 1000


def newest_wheel() -> Path | None:
    """The wheel that `make` built last; says so aloud if there is none."""
    wheels = sorted((TARGET / "wheels").glob("afterquery-*.whl"), key=lambda p: p.stat().st_mtime)
    if not wheels:
        print(f"SKIPPED: wheel size: no wheel in {TARGET / 'wheels'}", flush=True)
        return None
    return wheels[-1]


def run(quick: bool) -> Numbers:
    """Megabytes and milliseconds."""
    modules = ("afterquery", "httpx", "aiohttp", "requests")
    cases = {module: partial(import_milliseconds, module) for module in modules}
    wheel = newest_wheel()
    core = Path(str(afterquery._core.__file__))
    return {
        "wheel_mb": wheel and round(wheel.stat().st_size / 1e6, 2),
        "core_mb": round(core.stat().st_size / 1e6, 2),
        "import_ms": medians(interleaved(cases, 5 if quick else 21)),
    }
