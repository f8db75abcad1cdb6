"""Find the supported Pythons on this machine. Needs nothing installed.

python3 tools/pythons.py newest    the interpreter that `make` builds .venv from
python3 tools/pythons.py list      every supported one, oldest first
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Version = tuple[int, int]

OLDEST, NEWEST = (3, 10), (3, 14)
# A Python without one of these cannot run the tests (Debian's python3 without python3-venv, say).
PROBE = "import ensurepip, sqlite3, ssl, sys, venv; print(*sys.version_info[:2], sys.executable)"


def candidates() -> Iterator[str]:
    """Commands that may be a Python: on the PATH, under pyenv, under uv."""
    yield sys.executable
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        yield shutil.which(f"python3.{minor}") or ""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    for root in (pyenv / "versions", uv):
        yield from map(str, sorted(root.glob("*/bin/python")))


def probe(command: str) -> tuple[Version, str] | None:
    """The version and path where the command is a supported, complete Python."""
    run = subprocess.run([command, "-c", PROBE], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return None
    major, minor, path = run.stdout.strip().split(" ", 2)
    version = (int(major), int(minor))
    return (version, path) if OLDEST <= version <= NEWEST else None


def supported() -> dict[Version, str]:
    """Version to path, oldest first; the first one found of each version."""
    found: dict[Version, str] = {}
    for command in filter(None, candidates()):
        hit = probe(command)
        if hit:
            found.setdefault(*hit)
    return dict(sorted(found.items()))


def main() -> None:
    pythons = supported()
    if not pythons:
        sys.exit(f"no Python {OLDEST} to {NEWEST} with venv, sqlite3 and ssl on this machine")
    if sys.argv[1:] == ["newest"]:
        print(list(pythons.values())[-1])
        return
    for (major, minor), path in pythons.items():
        print(f"{major}.{minor} {path}")


if __name__ == "__main__":
    main()
