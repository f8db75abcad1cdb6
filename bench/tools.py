"""The Rust programs in `bench/sink`: built when they are first needed."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

from bench import ROOT
from bench.measure import Numbers

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


@cache
def tool(name: str) -> Path:
    """The program `name`, in release mode."""
    folder = TARGET / "bench-tools"
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(folder)]
    subprocess.run([*command, "--manifest-path", str(ROOT / "bench/sink/Cargo.toml")], check=True)
    return folder / "release" / name


def run_tool(name: str, *arguments: object) -> Numbers:
    """Runs it to its end; what it printed."""
    command = [str(tool(name)), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
