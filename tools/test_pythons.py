"""Run pytest on .venv's Python, and on the oldest and the newest supported Python found here.

python tools/test_pythons.py WHEEL [pytest arguments]

.venv holds the development install; the others get the wheel, as a user would. The oldest Python
gets the oldest versions of the libraries too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pythons import supported

ROOT = Path(__file__).resolve().parent.parent
OLDEST = ROOT / "tests/oldest.txt"


def run(*command: str | Path) -> int:
    return subprocess.run(list(map(str, command)), cwd=ROOT, check=False).returncode


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def prepare(version: tuple[int, int], python: str, wheel: str, *pins: str | Path) -> Path:
    """A virtual environment of this version with the wheel and the test dependencies."""
    venv = ROOT / ".venv-{}.{}".format(*version)
    inside = venv / "bin" / "python"
    if not inside.exists() and run(python, "-m", "venv", venv) != 0:
        sys.exit(f"cannot create {venv}")
    pip = (inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    installed = (
        run(*pip, "--upgrade", "pip")
        or run(*pip, "--group", "test", *pins)
        or run(*pip, "--force-reinstall", "--no-deps", wheel)
    )
    if installed != 0:
        sys.exit(f"cannot install the package and its tests into {venv}")
    return inside


def main() -> int:
    wheel, *arguments = sys.argv[1:]
    here = (sys.version_info.major, sys.version_info.minor)
    found = supported()
    ends = [version for version in (min(found), max(found)) if version != here]
    rounds = {here: Path(sys.executable)}
    for version in dict.fromkeys(ends):
        say("preparing Python {}.{} ({})".format(*version, found[version]))
        pins = ("--constraint", OLDEST) if version == min(found) else ()
        rounds[version] = prepare(version, found[version], wheel, *pins)

    failed = []
    for version, python in sorted(rounds.items()):
        say("pytest on Python {}.{}".format(*version))
        if run(python, "-m", "pytest", *arguments) != 0:
            failed.append(version)
    for version in sorted(rounds):
        say("Python {}.{}: {}".format(*version, "FAILED" if version in failed else "passed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
