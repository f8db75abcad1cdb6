"""The application as a process that is killed, stopped and started again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.app import Settings
from chaos.drain import DRAIN_SECONDS, MOST_SECONDS, Drained

TESTS = Path(__file__).resolve().parents[1]
ANSWER_SECONDS = 90.0


class AppProcess:
    """One run of `chaos.app`, or of another module; its log is `log`."""

    def __init__(
        self,
        settings: Settings,
        log: Path,
        environment: Mapping[str, str],
        module: str = "chaos.app",
        *more: str,
    ) -> None:
        self._log = log
        with log.open("a") as file:
            self._process = subprocess.Popen(
                [*_command(module, settings), *more],
                env=python_environment(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def wait_ready(self) -> None:
        """Until its threads start to write."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise AssertionError(f"the application ended by itself:\n{tail(self._log)}")

    def ask(self, name: str, *arguments: object) -> Any:
        """Have it do one of its commands; gives the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([name, *arguments]), file=self._process.stdin, flush=True)
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(ANSWER_SECONDS) else ""
        assert line, f"no answer to {name}:\n{tail(self._log)}"
        return json.loads(line)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end. It must not have ended before."""
        status = self.end()
        assert status == -signal.SIGKILL, f"it ended with {status}:\n{tail(self._log)}"

    def wait(self) -> None:
        """Until it ends by itself, as it should."""
        self._process.wait(3 * DRAIN_SECONDS)
        status = self.end()
        assert status == 0, f"it ended with {status}:\n{tail(self._log)}"

    def end(self) -> int:
        """SIGKILL if it still runs; its exit status."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        return self._process.wait()


def drain(settings: Settings, log: Path, environment: Mapping[str, str]) -> Drained:
    """Run `chaos.drain` to its end."""
    with log.open("a") as file:
        done = subprocess.run(
            _command("chaos.drain", settings),
            env=python_environment(environment),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    assert done.returncode == 0, f"the clean process failed:\n{tail(log)}"
    return Drained.decode(done.stdout)


def tail(log: Path) -> str:
    """Enough of the end of a log to see why a process ended."""
    return log.read_text()[-1_500:]


def _command(module: str, settings: Settings) -> list[str]:
    return [sys.executable, "-m", module, settings.encode()]


def python_environment(more: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}
