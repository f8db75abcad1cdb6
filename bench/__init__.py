"""The benchmarks: `make bench`, or one of them: `python -m bench.run read_cost --quick`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Real replicas are started as the tests start them.
sys.path.insert(0, str(ROOT / "tests"))
