"""The ends of processes that run no `atexit` handlers.

A child of multiprocessing or of a `ProcessPoolExecutor` ends with `os._exit()` after it has run the
finalizers of that package, and begins with none of its parent's. A worker of Celery's sends a
signal.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

_PACKAGES = ("multiprocessing", "billiard")
_LAST = -1_000
"""After all finalizers of the user's: they may still write."""

_watched: set[tuple[int, str]] = set()


class _Token:
    """What the packages hold weakly for as long as they are to call `watch` in their children."""


_token = _Token()


def watch() -> None:
    """Have the replicators of this process closed when it ends. Harmless when repeated."""
    from afterquery._core import close_all

    pid = os.getpid()
    if (pid, "atexit") not in _watched:
        _watched.add((pid, "atexit"))
        # Again in a child: some begin by clearing what their parent had registered.
        atexit.unregister(close_all)
        atexit.register(close_all)
    for package in _PACKAGES:
        util, process = (sys.modules.get(f"{package}.{name}") for name in ("util", "process"))
        if util is None or process is None:
            continue
        util.register_after_fork(_token, _forked)
        if (pid, package) not in _watched and not _is_main(process):
            _watched.add((pid, package))
            util.Finalize(None, close_all, exitpriority=_LAST)
    if (signals := sys.modules.get("celery.signals")) is not None:
        # A worker of Celery's pool runs no finalizers either, but says that it ends.
        signals.worker_process_shutdown.connect(_ended, weak=False, dispatch_uid="afterquery")


def _ended(**_: object) -> None:
    from afterquery._core import close_all

    close_all()


def _is_main(process: Any) -> bool:
    """Whether the package did not start this process: then the interpreter's own end comes."""
    return type(process.current_process()).__name__ == "_MainProcess"


def _forked(_: _Token) -> None:
    """In a child, after its package has forgotten the finalizers of the parent."""
    _watched.clear()
    watch()
