"""A relay that stops itself by SIGSTOP, outside of its transactions: `relay_stopped.py DB URL`.

It does so after SIGUSR1, when it waits for work.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from typing import Any

from afterquery.outbox import Relay
from support.process import ADMIN_TOKEN

_told = False


def _tell(*_: object) -> None:
    global _told
    _told = True


def _before(sql: str) -> None:
    if _told and sql == "PRAGMA data_version":
        os.kill(os.getpid(), signal.SIGSTOP)


class Stopping(sqlite3.Connection):
    """Sees its statements before they run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_trace_callback(_before)


def main() -> None:
    path, url = sys.argv[1:]
    connect = sqlite3.connect

    def stopping(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, factory=Stopping, **kwargs)

    sqlite3.connect = stopping  # type: ignore[assignment]
    signal.signal(signal.SIGUSR1, _tell)
    Relay(path, [url], auth_token=ADMIN_TOKEN, poll=0.02, lease=0.2).run()


if __name__ == "__main__":
    main()
