"""Install what was built into clean environments, and replicate a row with it.

python tools/install_check.py DIST [DIST ...]

Each DIST is a wheel, a source distribution, or a folder of them; of a folder, wheels that this
machine cannot take are passed over. Every one gets an environment of its own with nothing else in
it but what pip brings, and must start a peer, replicate, and compare. Building a source
distribution takes Rust.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROGRAM = """
import sqlite3, subprocess, sys, tempfile
from pathlib import Path
import afterquery

folder = Path(tempfile.mkdtemp())
peer = subprocess.Popen(
    [sys.executable, "-m", "afterquery", "peer", "--db", folder / "copy.db", "--port", "0"],
    env={"AFTERQUERY_TOKEN": "secret"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
)
try:
    url = next(word for line in peer.stdout for word in line.split() if word.startswith("http://"))
    with afterquery.Replicator([url.rstrip(".,")], auth_token="secret", ddl=True) as replicator:
        replicator.after_query("CREATE TABLE t (a)")
        outcomes = replicator.after_query("INSERT INTO t VALUES (?)", ("it works",)).wait(30)
    assert [outcome.status for outcome in outcomes] == ["fulfilled"], outcomes
    rows = sqlite3.connect(folder / "copy.db").execute("SELECT a FROM t").fetchall()
    assert rows == [("it works",)], rows
finally:
    peer.terminate()
    peer.wait(30)
print("afterquery", afterquery.__version__, "on", sys.version.split()[0], "works")
"""


def files(arguments: list[str]) -> list[Path]:
    """The distributions that were named, a folder's in the order of their names."""
    found: list[Path] = []
    for argument in map(Path, arguments):
        inside = sorted([*argument.glob("*.whl"), *argument.glob("*.tar.gz")])
        found += inside if argument.is_dir() else [argument]
    return found


def check(distribution: Path, *, named: bool) -> bool:
    """Whether it was installed and works; False where pip says that it is not for this machine."""
    with tempfile.TemporaryDirectory(prefix="afterquery-install-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, f"{distribution.resolve()}[peer]"],
            capture_output=True,
            text=True,
            check=False,
        )
        if not named and "is not a supported wheel on this platform" in done.stderr:
            return False
        if done.returncode != 0:
            sys.exit(f"{distribution.name} cannot be installed:\n{done.stderr}")
        subprocess.run([python, "-c", PROGRAM], cwd=folder, check=True, timeout=120)
    return True


def main() -> None:
    arguments = sys.argv[1:]
    checked = [file.name for file in files(arguments) if check(file, named=str(file) in arguments)]
    if not checked:
        sys.exit("nothing here can be installed on this machine; build it: make wheel")
    print("checked:", *checked, sep="\n  ")


if __name__ == "__main__":
    main()
