"""The real storage engine behind the SQL parser of StarbaseDB's worker."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from bench.replicas import has_workerd
from support.workerd import WorkerdProcess

FOLDER = Path(__file__).parent


class ParsingProcess(WorkerdProcess):
    """An instance whose worker parses each text before it runs it."""

    name = "starbase"

    def command(self) -> list[str]:
        command = super().command()
        command[2] = str(FOLDER / "config.capnp")
        return command


@cache
def available() -> bool:
    """Whether it can be had; says so aloud if not."""
    if not has_workerd():
        return False
    if not (FOLDER / "node_modules").exists():
        npm = shutil.which("npm")
        assert npm, "there is a workerd, so there was an npm"
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=FOLDER, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            print("SKIPPED: StarbaseDB's parser: npm ci failed in bench/starbase", flush=True)
            return False
    return True
