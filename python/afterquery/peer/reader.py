"""A process that reads: it is killed when a read takes too long, whatever SQLite is doing then.

`afterquery.peer.process` starts it, and asks it on its standard input. In here, SQLite's limit on
memory holds for nothing else, and neither do those that the system enforces.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from afterquery.peer import connect
from afterquery.peer.batch import Rules, Session, Text
from afterquery.peer.errors import SqlError
from afterquery.peer.protocol import FORMS, Query

READY = b"+"
"""What it says when it can be asked."""

RESULT, FAILURE = b"R", b"F"
"""What an answer begins with."""

ALARM_SECONDS = 2.0
"""So long after its time a text ends the process, should nobody be left to do that, in seconds."""

NICE = 5
"""Readers yield to the writer where there is not enough processor for both."""

_PYTHON_BYTES = 256 * 1024 * 1024
"""What Python itself may need for the values that SQLite returned."""

_FILE_BYTES = 64 * 1024 * 1024
"""The longest file: nothing but the log's index is ever written."""


def main() -> None:
    """Serve requests until the input ends."""
    settings = json.loads(sys.argv[1])
    requests, answers = sys.stdin.buffer, sys.stdout.fileno()
    # Ctrl-C is for the parent, which ends this process in its time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    session = _session(settings)
    _confine(settings["max_memory_bytes"])
    _send(answers, READY)
    while request := _received(requests):
        text = _text(request)
        signal.setitimer(signal.ITIMER_REAL, text.seconds + ALARM_SECONDS)
        kind, body = _run(session, text)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answers, kind + len(body).to_bytes(8, "big"))
        _send(answers, body)
    # The process that writes closes the file; a reader must not fold the log into it.
    os._exit(0)


def _session(settings: dict[str, Any]) -> Session:
    memory = settings["max_memory_bytes"]
    rules = Rules(
        max_sql_bytes=settings["max_sql_bytes"],
        rollback_on_error=True,
        max_result_bytes=settings["max_result_bytes"],
        max_memory=f"max_read_memory_bytes ({memory})",
    )
    return Session(connect.reader(Path(settings["path"]), memory), rules, "BEGIN")


def _confine(memory: int) -> None:
    """Walls behind SQLite's own limits."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _FILE_BYTES)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # Elsewhere the system does not enforce it anyway.
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory + _PYTHON_BYTES)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or value <= hard:
        resource.setrlimit(limit, (value, value))


def _received(requests: BinaryIO) -> dict[str, Any] | None:
    size = requests.read(4)
    if len(size) < 4:
        return None
    request: dict[str, Any] = json.loads(requests.read(int.from_bytes(size, "big")))
    return request


def _send(answers: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(answers, rest) :]


def _text(request: dict[str, Any]) -> Text:
    query = Query(request["sql"], request["params"])
    return Text(query, FORMS[request["form"]], request["seconds"], request["room"])


def _run(session: Session, text: Text) -> tuple[bytes, bytes]:
    try:
        return RESULT, session.run(text)
    except SqlError as error:
        failure = (error.status, error.message, error.limit)
    except MemoryError:
        failure = (500, "out of memory: SQLITE_NOMEM", "max_read_memory_bytes")
    return FAILURE, json.dumps(failure).encode()
