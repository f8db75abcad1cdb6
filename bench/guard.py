"""Instructions of the hot path, counted by callgrind and compared with `bench/guard.json`.

python -m bench.guard [--update]. Seconds are too noisy where CI runs; instructions are not.
Exit status: 0 as before or better, or not counted; 1 more than 5 % worse.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.tools import TARGET

NAMES = ("read", "write", "classify")
CALLS = 1_000
"""As in `benches/hot_path.rs`."""

TOLERANCE = 0.05
BASELINE = Path(__file__).with_name("guard.json")
SKIPPED = """
*** SKIPPED: the instruction counts of the hot path were NOT compared.
*** valgrind is not installed (Debian: apt install valgrind).
"""


def build() -> Path:
    """The benchmark's executable."""
    command = ["cargo", "bench", "--locked", "--no-run", "--bench", "hot_path"]
    command += ["--message-format", "json", "--target-dir", str(TARGET)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    found = [m["executable"] for m in messages if m.get("target", {}).get("name") == "hot_path"]
    return Path(found[-1])


def count(executable: Path, name: str) -> float:
    """Instructions of one call, user mode, on the caller's thread."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=guarded"]
        command += [f"--callgrind-out-file={folder}/out", str(executable), name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    assert int(found[1]) > CALLS, "callgrind does not find `guarded` in the executable"
    return int(found[1]) / CALLS


def compare(now: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """Prints both; the names that became too much worse."""
    worse = []
    for name, instructions in now.items():
        change = instructions / baseline[name] - 1
        was = baseline[name]
        print(f"{name:<10} {instructions:8.1f} instructions, was {was:8.1f}: {change:+.1%}")
        if change > TOLERANCE:
            worse.append(name)
        elif change < -TOLERANCE:
            print(f"{name:<10} better: keep it with `make bench-guard ARGS=--update`")
    return worse


def compiler() -> str:
    done = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--update", action="store_true", help="take these counts as the baseline")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print(SKIPPED, flush=True)
        return 0
    executable = build()
    now = {name: count(executable, name) for name in NAMES}
    if options.update:
        BASELINE.write_text(json.dumps({"compiler": compiler(), **now}, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    worse = compare(now, baseline)
    if worse and baseline["compiler"] != compiler():
        print(f"not a failure: the baseline is of {baseline['compiler']}, this is {compiler()}")
        return 0
    if worse:
        print(f"more than {TOLERANCE:.0%} worse: {', '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
