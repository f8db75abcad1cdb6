"""A replica as a process of its own: started, killed and started again on the same port."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from support.client import Client

if TYPE_CHECKING:
    from typing_extensions import Self

ADMIN_TOKEN = "admin-token-of-the-tests"
CLIENT_TOKEN = "client-token-of-the-tests"

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class ReplicaProcess:
    """Start, `kill` (SIGKILL) or `stop` (SIGTERM), start again: the data and the port stay.

    Subclasses say how it is started and how it tells its port.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = 0
        """The port; 0 until the first start chooses one."""
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, token: str = ADMIN_TOKEN) -> Client:
        return Client(self.url, token)

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}

    def full_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment()}

    def port_of(self, line: str) -> int | None:
        """The port that a line of the output tells, if it does."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert self._process is None, f"{self.name} is running"
        with (self.folder / "log.txt").open("a") as log:
            self._process = subprocess.Popen(
                self.command(),
                env=self.full_environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            self.port = self._wait_for_port(self._process)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; returns its exit status."""
        return self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal and do not wait for what comes of it."""
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(number)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not stop in {STOP_SECONDS} s") from None
        finally:
            if process.stdout is not None:
                process.stdout.close()
        return status

    def _wait_for_port(self, process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                port = self._next_port(process.stdout)
                if port is not None:
                    return port
        raise AssertionError(f"{self.name} did not start in {START_SECONDS} s:\n{self.log()}")

    def _next_port(self, output: IO[str]) -> int | None:
        line = output.readline()
        if not line:
            raise AssertionError(f"{self.name} ended while starting:\n{self.log()}")
        return self.port_of(line)
