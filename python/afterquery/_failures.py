"""Errors of our own: logged once for each kind, counted, and kept from the user's query."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Mapping

_log = logging.getLogger("afterquery")


class Failures:
    """What went wrong inside an integration, in this process."""

    def __init__(self) -> None:
        # Reentrant: a garbage collection may end in here while the lock is held.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._logged: set[tuple[str, type[BaseException] | None]] = set()

    def report(self, what: str) -> None:
        """Count what went wrong; log it, with the exception being handled, the first time."""
        kind = (what, sys.exc_info()[0])
        with self._lock:
            self._counts[what] += 1
            new = kind not in self._logged
            self._logged.add(kind)
        if new:
            _log.error("%s; logged once, counted each time", what, exc_info=kind[1] is not None)

    def counts(self) -> Mapping[str, int]:
        """How often each kind of error happened."""
        with self._lock:
            return dict(self._counts)

    def forget(self) -> None:
        """Begin anew, as tests do."""
        with self._lock:
            self._counts.clear()
            self._logged.clear()


failures = Failures()
