"""The demo's processes: the peers and the application, each with a log in the demo's folder."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

import httpx

from afterquery.demo.app import Settings

START_WITHIN = 30.0
HOST = "127.0.0.1"


class DemoError(Exception):
    """The demo cannot run; the message says why."""


class Process:
    """A child of the demo that answers HTTP on a port."""

    def __init__(
        self, name: str, port: int, command: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.url = f"http://{HOST}:{port}"
        self._command = [sys.executable, "-m", *command]
        self._environment = {**os.environ, **env}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return once it answers, whatever it answers."""
        self._process = process = self._spawn()
        ends = monotonic() + START_WITHIN
        async with httpx.AsyncClient(timeout=2) as client:
            while monotonic() < ends and process.poll() is None:
                try:
                    await client.get(self.url)
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise DemoError(f"{self.name} did not start:\n{self.last_words()}")

    def kill(self) -> None:
        """SIGKILL: no farewell, no flush."""
        self.end(within=0)

    def end(self, within: float = 5.0) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if within > 0:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(within)
        process.kill()
        process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends its children
            )

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-15:]) or "(it said nothing)"


class Peer(Process):
    """One replica: `afterquery peer` on a file of its own."""

    def __init__(self, name: str, folder: Path, token: str) -> None:
        self.db = folder / f"{name}.db"
        port = free_port()
        command = ("afterquery", "peer", "--db", str(self.db), "--host", HOST, "--port", str(port))
        super().__init__(name, port, command, {"AFTERQUERY_TOKEN": token}, folder / f"{name}.log")


class App(Process):
    """The application under uvicorn."""

    def __init__(
        self, port: int, folder: Path, replicas: tuple[tuple[str, str | None, str], ...]
    ) -> None:
        self.db = folder / "primary.db"
        port = port or free_port()
        command = (
            "uvicorn", "--factory", "afterquery.demo.app:create", "--host", HOST,
            "--port", str(port), "--log-level", "warning",
        )  # fmt: skip
        settings = Settings(str(self.db), replicas)
        super().__init__(
            "the application", port, command, settings.to_environment(), folder / "app.log"
        )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
