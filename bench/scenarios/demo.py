"""`make demo` from nothing: a fresh clone, nothing built, no virtual environment. Takes minutes.

Downloads of crates and packages count where they are not in the user's caches.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time

from bench import ROOT
from bench.measure import Numbers


def run(quick: bool) -> Numbers:
    """Seconds of the first `make demo`, and of the second."""
    arguments = "--requests 200" if quick else ""
    environment = {
        k: v for k, v in os.environ.items() if k not in {"CARGO_TARGET_DIR", "VIRTUAL_ENV"}
    }
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
        for _ in range(2):
            begin = time.perf_counter()
            command = ["make", "demo", f"ARGS={arguments}"]
            subprocess.run(command, cwd=folder, env=environment, check=True)
            seconds.append(round(time.perf_counter() - begin, 1))
    return {"cold_seconds": seconds[0], "warm_seconds": seconds[1]}
