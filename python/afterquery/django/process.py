"""The one replicator of this process: made at its first use, closed at the process's end."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from afterquery._core import Replicator
from afterquery._failures import failures


class Process:
    """Makes the replicator, and makes another one in each forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._make: Callable[[], Replicator] | None = None
        self._close_timeout = 0.0
        self._replicator: Replicator | None = None
        self._inherited: list[Replicator | None] = []
        os.register_at_fork(after_in_child=self._forked)
        atexit.register(self.close)

    def configure(self, make: Callable[[], Replicator], close_timeout: float) -> None:
        """Say how it is made, and how many seconds the end waits for the replicas."""
        self._make, self._close_timeout = make, close_timeout

    def replicator(self) -> Replicator:
        """The replicator of this process: for `stats()`, `flush()`, `dead_letters()`.

        Raises `ImproperlyConfigured` before Django is set up with `afterquery.django`.
        """
        if self._replicator is None:
            with self._lock:
                if self._replicator is None:
                    self._replicator = self._made()
        return self._replicator

    def close(self) -> None:
        """Deliver what is pending; the next use makes another replicator."""
        with self._lock:
            replicator, self._replicator = self._replicator, None
        if replicator is not None:
            try:
                replicator.close(self._close_timeout)
            except Exception:
                failures.caught("the replicator could not be closed")

    def _made(self) -> Replicator:
        if self._make is None:
            # Here, so that a process without Django can import this module.
            from django.core.exceptions import ImproperlyConfigured

            raise ImproperlyConfigured('"afterquery.django" is not in INSTALLED_APPS, or not yet')
        return self._make()

    def _forked(self) -> None:
        """Another thread of the parent may hold the lock. The parent's replicator is kept: its
        threads do not exist here, and it must not be ended from here."""
        self._lock = threading.Lock()
        self._inherited.append(self._replicator)
        self._replicator = None


process = Process()
replicator = process.replicator
