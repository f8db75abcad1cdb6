"""A relay that dies before its Nth statement on the database: `relay_killed.py DB N URL`.

It ends by itself, with status 0, when it has delivered everything with fewer statements.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from typing import Any

from afterquery.outbox import Relay, _record
from support.process import ADMIN_TOKEN

_left = int(sys.argv[2])


def _step(*_: object) -> None:
    global _left
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


class Dying(sqlite3.Connection):
    """Counts its statements."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_trace_callback(_step)


def main() -> None:
    path, _, url = sys.argv[1:]
    connect, write = sqlite3.connect, _record.write

    def dying(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, factory=Dying, **kwargs)

    def noted(*args: Any) -> None:
        _step()
        write(*args)
        _step()

    sqlite3.connect = dying  # type: ignore[assignment]
    _record.write = noted  # type: ignore[assignment]
    settings: dict[str, Any] = {"auth_token": ADMIN_TOKEN, "retry_base": 0.01, "retry_max": 0.2}
    done = Relay(path, [url], poll=0.05, lease=0.2, **settings).run(once=30)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
