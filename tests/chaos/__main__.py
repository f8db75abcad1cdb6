"""`python -m chaos`: all scenarios in their long form; the table goes to docs/reliability.md.

Exit status: 0 nothing is wrong, 1 something is.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chaos import report
from chaos.scenarios import LONG, SHORT, AnyScenario, Result, missing


def main() -> int:
    options = _options()
    print(f"seed {options.seed}", flush=True)
    chosen = [one for one in (SHORT if options.short else LONG) if options.only in one.label]
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    started = time.monotonic()
    results = [(one, _run(one, base / str(at), options)) for at, one in enumerate(chosen)]
    done = [(scenario, result) for scenario, result in results if result is not None]
    print(f"\n{report.table(done)}\n{time.monotonic() - started:.0f} s")
    if any(result.findings.wrong for _, result in done):
        print(f"what there is to look into is in {base}")
        return 1
    shutil.rmtree(base)
    if chosen == list(LONG) and len(done) == len(LONG):
        report.write(done, f"make chaos ARGS='--seed {options.seed}'", time.strftime("%Y-%m-%d"))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with this in their label"
    )
    parser.add_argument("--short", action="store_true", help="the short form of `make test`")
    return parser.parse_args()


def _run(scenario: AnyScenario, folder: Path, options: argparse.Namespace) -> Result | None:
    lacking = missing(scenario, folder)
    if lacking is not None:
        print(f"LEFT OUT  {scenario.label}: {lacking}", flush=True)
        return None
    started = time.monotonic()
    result = _played(scenario, folder / "world", options.seed)
    verdict = "WRONG" if result.findings.wrong else "ok   "
    seconds = time.monotonic() - started
    kills = result.done["kills"]
    print(f"{verdict} {seconds:4.0f} s  {scenario.label}: {kills} kills", flush=True)
    if result.findings.wrong:
        print(f"      {dict(result.findings.wrong)}", *result.findings.examples, sep="\n      ")
        print(f"      again: make chaos ARGS=\"--seed {options.seed} --only '{scenario.label}'\"")
    return result


def _played(scenario: AnyScenario, folder: Path, seed: int) -> Result:
    """A process that ended by itself, or did not start, is a finding too."""
    try:
        return scenario.run(folder, seed)
    except AssertionError as error:
        result = Result()
        result.findings.add("broken", str(error))
        return result


if __name__ == "__main__":
    sys.exit(main())
