"""On what, with what and when: without this a number means nothing."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import afterquery
from bench.measure import Numbers

RIVALS = ("httpx", "aiohttp", "uvloop", "requests", "fastapi", "uvicorn")


def refuse_debug() -> None:
    """Only a release build is worth measuring."""
    if (profile := afterquery._core.__profile__) != "release":
        sys.exit(f"refused: the core's profile is {profile!r}; `make bench` makes a release build")


def describe(*, quick: bool) -> Numbers:
    """Date, machine and versions."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "afterquery": afterquery.__version__,
        "commit": _output("git", "rev-parse", "--short", "HEAD"),
        "rust": _output("rustc", "--version").removeprefix("rustc "),
        "node": _output("node", "--version"),
        "packages": {name: _version(name) for name in RIVALS},
        "quick": quick,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "missing"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
