"""A user's program in a process of its own: run to its end, or killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from support.until import until

if TYPE_CHECKING:
    from typing_extensions import Self

END_SECONDS = 60.0


class Program:
    """Runs `code`; what it prints is in `output`, what it logs and its errors are in `errors`."""

    def __init__(
        self,
        folder: Path,
        code: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        command: list[str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._output, self._errors = folder / "output.txt", folder / "errors.txt"
        file = folder / "program.py"
        file.write_text(textwrap.dedent(code))
        options = ["-X", "faulthandler", "-W", "ignore::DeprecationWarning"]
        python = [sys.executable, *options, str(file), *arguments]
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                command or python,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=folder,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def errors(self) -> str:
        return self._errors.read_text(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The whole lines that it printed."""
        *whole, _ = self.output.split("\n")
        return whole

    def expect(self, line: str, seconds: float = END_SECONDS) -> None:
        """Wait until it printed this line."""
        until(lambda: line in self.lines or self.process.poll() is not None, seconds)
        assert line in self.lines, f"it never said {line!r}:\n{self.output}\n{self.errors}"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait(END_SECONDS)

    def end(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end; its exit status. One that hangs shows where, and fails the test."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)
            self.process.wait(END_SECONDS)
        raise AssertionError(f"it hung for {seconds} s:\n{self.output}\n{self.errors}")

    def succeed(self, seconds: float = END_SECONDS) -> Self:
        """Wait for its end, which must be a good one."""
        status = self.end(seconds)
        assert status == 0, f"exit status {status}:\n{self.output}\n{self.errors}"
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
