"""Waiting for a condition."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PAUSE_SECONDS = 0.005


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until the condition holds; an `AssertionError` after so many seconds."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        pause.wait(_PAUSE_SECONDS)
