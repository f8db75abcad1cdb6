"""A writer that others have to wait for."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_SECONDS = 60.0


@contextmanager
def writing(path: Path) -> Iterator[threading.Event]:
    """A transaction that has the write lock, and is committed as soon as the event is set."""
    ready, end = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            ready.set()
            end.wait(_SECONDS)
            db.execute("COMMIT")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert ready.wait(_SECONDS)
        yield end
    finally:
        end.set()
        thread.join()
