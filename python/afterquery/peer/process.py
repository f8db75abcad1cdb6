"""The other end of a process that reads: starting it, asking it, and ending it in time."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import spawn
from pathlib import Path

from afterquery.peer.batch import Text
from afterquery.peer.errors import SqlError
from afterquery.peer.file import Standing, look
from afterquery.peer.protocol import FORMS
from afterquery.peer.reader import READY, RESULT

MARGIN_SECONDS = 0.5
"""How long after its time a text may still end by itself, in seconds; then it is killed."""

START_SECONDS = 30.0
"""How long the start of a process may take on a busy machine, in seconds."""

# What Python needs to start. The rest of the environment, where tokens and passwords are, is
# nothing for a process that runs strangers' SQL.
_NEEDED = re.compile(r"(PATH|HOME|TZ|TMPDIR|VIRTUAL_ENV|LANG|(LC_|LD_|DYLD_|PYTHON).*)$")

_PART_BYTES = 1024 * 1024

_PATHS = {form: path for path, form in FORMS.items()}


@dataclass(frozen=True)
class Reading:
    """How the file is read."""

    path: Path
    max_sql_bytes: int
    max_memory_bytes: int
    max_result_bytes: int


class Reader:
    """One process that reads; made anew after each that was ended. One thread at a time asks it."""

    def __init__(self, reading: Reading, standing: Callable[[], Standing]) -> None:
        self._reading = reading
        self._standing = standing
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._opened: Standing | None = None

    def run(self, text: Text) -> bytes:
        """The result of a text, or the `SqlError` it met."""
        standing = self._standing()
        if self._opened != standing or self._process is None or self._process.poll() is not None:
            self.close()
            self._process = self._start()
            self._opened = standing
        answer = self._ask(self._process, text)
        # It may have opened another file than it was to open.
        if look(str(self._reading.path)) != standing:
            self.close()
            raise interrupted()
        return answer

    def cut(self) -> None:
        """Kill it; who has asked it gets an error."""
        process = self._process
        if process is not None:
            process.kill()

    stop = cut

    def close(self) -> None:
        """End it."""
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        reading = self._reading
        settings = {
            "path": str(reading.path),
            "max_sql_bytes": reading.max_sql_bytes,
            "max_memory_bytes": reading.max_memory_bytes,
            "max_result_bytes": reading.max_result_bytes,
        }
        # Not -m: that would look for modules in the current folder first.
        load = "from afterquery.peer.reader import main; main()"
        code = f"import sys; sys.path[:] = {sys.path!r}; {load}"
        try:
            return subprocess.Popen(
                # Where Python is embedded, multiprocessing has been told which program to start.
                [spawn.get_executable() or sys.executable, "-c", code, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={name: value for name, value in os.environ.items() if _NEEDED.match(name)},
            )
        except OSError as error:
            raise SqlError(
                f"a process that reads cannot be started: {error}: SQLITE_NOMEM", status=503
            ) from None

    def _ask(self, process: subprocess.Popen[bytes], text: Text) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        request = json.dumps(
            {
                "sql": text.query.sql,
                "params": text.query.params,
                "form": _PATHS[text.form],
                "seconds": text.seconds,
                "room": text.room,
            }
        ).encode()
        try:
            if not self._ready:
                _read(process.stdout.fileno(), len(READY), time.monotonic() + START_SECONDS)
                self._ready = True
            _write(process.stdin.fileno(), len(request).to_bytes(4, "big") + request)
            deadline = time.monotonic() + text.seconds + MARGIN_SECONDS
            head = _read(process.stdout.fileno(), 9, deadline)
            body = _read(process.stdout.fileno(), int.from_bytes(head[1:], "big"), deadline)
        except _EndedError as ended:
            self.close()
            raise interrupted(ended.limit) from None
        if head[:1] == RESULT:
            return body
        status, message, limit = json.loads(body)
        raise SqlError(message, status=status, limit=limit)


class _EndedError(Exception):
    """There is no answer: the process has ended, or its time has."""

    def __init__(self, limit: str | None = None) -> None:
        super().__init__(limit)
        self.limit = limit


def interrupted(limit: str | None = None) -> SqlError:
    """What the sender of a text hears that was ended from outside; it may try again."""
    return SqlError("interrupted: SQLITE_INTERRUPT", status=503, limit=limit)


def _write(pipe: int, content: bytes) -> None:
    sent = 0
    try:
        while sent < len(content):
            sent += os.write(pipe, content[sent:])
    except OSError:
        raise _EndedError from None


def _read(pipe: int, size: int, deadline: float) -> bytes:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    content = bytearray()
    while len(content) < size:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
            raise _EndedError("max_seconds")
        try:
            part = os.read(pipe, min(size - len(content), _PART_BYTES))
        except OSError:
            raise _EndedError from None
        if not part:
            raise _EndedError
        content += part
    return bytes(content)
