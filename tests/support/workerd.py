"""The real storage engine: workerd with the Worker of `tests/workerd`."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from support.process import ADMIN_TOKEN, CLIENT_TOKEN, ReplicaProcess

WORKER = Path(__file__).parents[1] / "workerd"

INSTALL_SECONDS = 300.0

NOT_TESTED = "NOT TESTED ON THE REAL STORAGE ENGINE"


class UnavailableError(Exception):
    """There is no workerd here, and why."""


class WorkerdProcess(ReplicaProcess):
    """An instance with its storage in `folder/storage`."""

    name = "workerd"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._storage = folder / "storage"
        self._storage.mkdir(exist_ok=True)

    def command(self) -> list[str]:
        return [
            str(binary()),
            "serve",
            str(WORKER / "config.capnp"),
            f"--socket-addr=http=127.0.0.1:{self.port}",
            f"--directory-path=storage={self._storage}",
            # It tells the port it got, as a line of JSON, on the descriptor named here.
            "--control-fd=1",
        ]

    def environment(self) -> Mapping[str, str]:
        return {"REPLICA_ADMIN_TOKEN": ADMIN_TOKEN, "REPLICA_CLIENT_TOKEN": CLIENT_TOKEN}

    def port_of(self, line: str) -> int | None:
        event = json.loads(line)
        return int(event["port"]) if event["event"] == "listen" else None


def why_not() -> str | None:
    """Why there is no workerd here; None where there is one."""
    try:
        binary()
    except UnavailableError as error:
        return f"{NOT_TESTED}: {error}"
    return None


def require() -> None:
    """Skip the test where there is no workerd; where CI is set, fail it."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@cache
def binary() -> Path:
    """The workerd binary; installed from npm the first time."""
    # Several test runs may come here at the same time: while one installs it, the others do not
    # look, for what they saw would be half of it.
    with (WORKER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _installed()
        if found is None:
            _install()
            found = _installed()
    if found is None:
        raise UnavailableError("npm has no workerd for this machine")
    return found


def _installed() -> Path | None:
    wanted = json.loads((WORKER / "package.json").read_text())["dependencies"]["workerd"]
    for package in sorted(WORKER.glob("node_modules/@cloudflare/workerd-*")):
        version = json.loads((package / "package.json").read_text())["version"]
        if version == wanted:
            return package / "bin" / "workerd"
    return None


def _install() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not on the PATH; install Node.js")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command,
            cwd=WORKER,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"npm ci took more than {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        raise UnavailableError(f"npm ci failed in tests/workerd:\n{done.stdout}")
