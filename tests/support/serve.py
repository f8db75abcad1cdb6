"""Real servers with an application of the tests: in a thread, or as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import uvicorn

from support.docs import ROOT
from support.until import until

STOP_SECONDS = 30.0


@contextmanager
def served(app: Any, *, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    """The application under uvicorn in a thread of this process; gives its URL."""
    # asyncio switches Nagle's algorithm off only where the protocol is named.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="critical", lifespan=lifespan)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            assert server.started
            yield url
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS)
            assert not thread.is_alive()


class ServerProcess:
    """A server started by a command line; `{port}` in it becomes the port."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "server.txt"
        command = [argument.format(port=port) for argument in arguments]
        path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "examples")])
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path, **environment},
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        """What the server has written so far."""
        return self._log.read_text(errors="replace")

    def wait(self, path: str = "/") -> None:
        """Until it answers; its log where it does not."""
        try:
            until(lambda: self._process.poll() is not None or self._answers(path))
        finally:
            assert self._process.poll() is None, self.log()

    def stop(self) -> int:
        """End it as an operator does; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def _answers(self, path: str) -> bool:
        try:
            httpx.get(self.url + path, timeout=5)
        except httpx.TransportError:
            return False
        return True

    def __enter__(self) -> ServerProcess:
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
