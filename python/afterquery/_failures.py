"""Errors of our own: logged once for each kind, counted, and kept from the user's query.

An exception that a signal handler raised is the user's (Ctrl-C, a task queue's time limit),
wherever in our code it came: it is passed on, never counted as ours.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from afterquery._log import logger

if TYPE_CHECKING:
    from afterquery._core import Replicator
    from afterquery._order import CommitOrder

Losing: TypeAlias = "Replicator | CommitOrder | tuple[Hashable, ...]"
"""Whose replicas may lack something: a replicator's, or a database's (`CommitOrder.identity`)."""

_log = logger()


class Failures:
    """What went wrong inside an integration, in this process."""

    def __init__(self) -> None:
        # Reentrant: a garbage collection may end in here while the lock is held.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._lost: WeakKeyDictionary[object, Counter[str]] = WeakKeyDictionary()
        self._lost_from: dict[tuple[Hashable, ...], Counter[str]] = {}
        self._logged: set[tuple[str, type[BaseException] | None]] = set()

    def report(self, what: str, lost: Losing | None = None) -> None:
        """Count what went wrong; log it the first time.

        `lost` is the replicator whose replicas may lack something now, or with an outbox the
        database that they lack it from: `flush()` is True no more.
        """
        self._count(what, lost, None)

    def caught(self, what: str, lost: Losing | None = None) -> None:
        """The same for the exception that is being handled, which is logged too. Raises it again
        where it is none of ours, but a signal handler's."""
        # Asked for, not passed on: a traceback and a frame in it that names it keep each other.
        if _is_interrupted():
            raise
        self._count(what, lost, sys.exc_info()[0])

    def count(self, what: str, lost: Losing | None = None) -> None:
        """Count what is logged elsewhere."""
        with self._lock:
            self._counts[what] += 1
            if lost is not None:
                self._of(lost)[what] += 1

    def _count(self, what: str, lost: Losing | None, error: type[BaseException] | None) -> None:
        with self._lock:
            self.count(what, lost)
            new = (what, error) not in self._logged
            self._logged.add((what, error))
        if new:
            _log.error("%s; logged once, counted each time", what, exc_info=error is not None)

    def counts(self) -> Mapping[str, int]:
        """How often each kind of error happened."""
        with self._lock:
            return dict(self._counts)

    def lost(self, *losing: Losing) -> Mapping[str, int]:
        """How often the replicas of this replicator may have missed something, for each kind."""
        with self._lock:
            return dict(sum((self._of(one) for one in losing), Counter()))

    def set_right(self, *losing: Losing) -> None:
        """The replicas lack nothing."""
        with self._lock:
            for one in losing:
                self._of(one).clear()

    def forget(self) -> None:
        """Begin anew, as tests do."""
        with self._lock:
            self._counts.clear()
            self._lost.clear()
            self._lost_from.clear()
            self._logged.clear()

    def _of(self, losing: Losing) -> Counter[str]:
        if isinstance(losing, tuple):
            return self._lost_from.setdefault(losing, Counter())
        return self._lost.setdefault(losing, Counter())


def _is_interrupted() -> bool:
    error = sys.exc_info()[1]
    return error is not None and interrupted(error)


def interrupted(error: BaseException) -> bool:
    """Whether a signal handler of the user's raised it: it may come between any two of our steps,
    and says nothing about them."""
    trace = error.__traceback__
    codes = set(_handlers()) if trace is not None else set()
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if not callable(handler):
            continue
        for found in (handler, type(handler).__call__):
            code = getattr(found, "__code__", None)
            if isinstance(code, CodeType):
                yield code


failures = Failures()
