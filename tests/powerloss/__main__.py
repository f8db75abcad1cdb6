"""`python -m powerloss`: all scenarios in their long form; the table goes to docs/reliability.md.

Exit status: 0 nothing is wrong (or strace is missing, and CI is not set), 1 something is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from powerloss import report, trace
from powerloss.scenarios import LONG, SHORT, WEAK, folder, play


def main() -> int:
    options = _options()
    lacking = trace.why_not()
    if lacking is not None:
        print(f"NOT TESTED: what power loss leaves: {lacking}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    print(f"seed {options.seed}", flush=True)
    among = SHORT if options.short else WEAK if options.weak else LONG
    chosen = [one for one in among if options.only in one.label]
    context = multiprocessing.get_context("spawn")
    with folder() as base, ProcessPoolExecutor(os.cpu_count(), context) as pool:
        places = [base / str(at) for at in range(len(chosen))]
        results = pool.map(play, chosen, places, [options.seed] * len(chosen))
        done = list(zip(chosen, results, strict=True))
    print(f"\n{report.table(done)}")
    if any(result.wrong for _, result in done):
        print(f"what there is to look into is in {base}")
        return 1
    if chosen == list(LONG):
        report.write(
            done, f"make powerloss ARGS='--seed {options.seed}'", time.strftime("%Y-%m-%d")
        )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m powerloss", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios with this label")
    parser.add_argument("--short", action="store_true", help="the short form of `make test`")
    parser.add_argument(
        "--weak", action="store_true", help="what promises less, judged as if it promised all"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
