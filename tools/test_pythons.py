"""Run pytest on .venv's Python, and on the oldest and the newest supported Python found here.

python tools/test_pythons.py WHEEL [pytest arguments]

.venv holds the development install; the others get the wheel, as a user would. The oldest Python
gets the oldest versions of the libraries too. All run at the same time, because tests mostly wait:
the first is watched as it goes, the others are printed when they end.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from pythons import supported

Version = tuple[int, int]

ROOT = Path(__file__).resolve().parent.parent
OLDEST = ROOT / "tests/oldest.txt"


def run(*command: str | Path) -> int:
    return subprocess.run(list(map(str, command)), cwd=ROOT, check=False).returncode


def say(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def prepare(version: Version, python: str, wheel: str, *pins: str | Path) -> Path:
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

    failed = test(rounds, arguments)
    for version in sorted(rounds):
        say("Python {}.{}: {}".format(*version, "FAILED" if version in failed else "passed"))
    return 1 if failed else 0


def test(rounds: dict[Version, Path], arguments: list[str]) -> list[Version]:
    """The versions on which a test failed. Pytest runs on all of them at the same time."""
    running: list[tuple[Version, subprocess.Popen[bytes], IO[bytes] | None]] = []
    for version, python in sorted(rounds.items()):
        # The first writes as it goes, so that a person sees that something happens.
        output: IO[bytes] | None = None
        if running:
            output = tempfile.TemporaryFile()  # noqa: SIM115 - printed below
        say("pytest on Python {}.{}{}".format(*version, ", printed when it ends" * bool(running)))
        # Two that write one cache would each read the other's half.
        cache = ".pytest_cache/{}.{}".format(*version)
        command = [str(python), "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
        errors = subprocess.STDOUT if output else None
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=errors)
        running.append((version, process, output))
    failed = []
    for version, process, output in running:
        if process.wait() != 0:
            failed.append(version)
        if output is not None:
            say("pytest on Python {}.{}".format(*version))
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
    return failed


if __name__ == "__main__":
    sys.exit(main())
