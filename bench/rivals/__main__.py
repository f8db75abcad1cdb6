"""Runs one rival in this process and prints what it took as JSON."""

from __future__ import annotations

import json
import sys

from bench.rivals.drive import measure

name, writes, *urls = sys.argv[1:]
print(json.dumps(measure(name, int(writes), urls)))
