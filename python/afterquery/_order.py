"""Transactions reach the replicator in the order in which their database committed them.

COMMIT returns before its transaction is submitted, and another thread may commit in between. So a
connection takes a ticket while it holds the database's write lock, directly before COMMIT, and
says afterwards how the COMMIT ended. Only one connection holds that lock at a time: tickets have
the order of the commits. A transaction is submitted when all tickets before its own are resolved,
by whoever resolves the last of them, and nobody waits.

Holds for connections of one process. Between processes there is no such order; and a ticket taken
without the lock, by a transaction that wrote to no table of the database, has no place in it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from afterquery import _scope
from afterquery._failures import failures

if TYPE_CHECKING:
    from afterquery._core import Replication, Replicator, Transaction

_HANDLE_SECONDS = 5.0
"""How long `Ticket.replication` waits for commits that came before: they only need the GIL."""


class _Place:
    """A place in the order, taken by a ticket."""

    __slots__ = ("ended", "replication", "resolved", "transaction")

    def __init__(self) -> None:
        self.resolved = False
        self.ended = False
        self.transaction: Transaction | None = None
        self.replication: Replication | None = None


class Ticket:
    """The right to submit in the order of commits. One that is forgotten counts as failed."""

    __slots__ = ("_order", "_place")

    def __init__(self, order: CommitOrder, place: _Place) -> None:
        self._order = order
        self._place = place

    @property
    def replication(self) -> Replication | None:
        """The handle of the write; None where nothing was committed or there was nothing to
        replicate, or where a request holds it back.

        Waits, at most 5 seconds, while a thread that committed before has not said so yet.
        """
        return self._order._replication(self._place)

    def __del__(self) -> None:
        if not self._place.resolved:
            self._order._resolve(self._place, None)


class CommitOrder:
    """The order in which the connections of this process commit to one database."""

    def __init__(self) -> None:
        # Reentrant: a garbage collection may drop a ticket, or commit, while the lock is held.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._places: deque[_Place] = deque()
        self._draining = False

    def take(self) -> Ticket:
        """A ticket. Take it while you hold the database's write lock."""
        place = _Place()
        with self._lock:
            self._places.append(place)
        return Ticket(self, place)

    def committed(
        self, ticket: Ticket, replicator: Replicator, transaction: Transaction
    ) -> Replication | None:
        """Submit a transaction whose COMMIT succeeded, in its turn.

        Returns the handle of the write. None where there was nothing to replicate, where a request
        holds it back, and where its turn comes a moment later: see `Ticket.replication`.
        """
        # Asked here and now: the request may be over when another thread gets to the transaction.
        self._resolve(ticket._place, None if _held(replicator, transaction) else transaction)
        return ticket._place.replication

    def failed(self, ticket: Ticket) -> None:
        """Give a ticket back: its COMMIT failed."""
        self._resolve(ticket._place, None)

    def _resolve(self, place: _Place, transaction: Transaction | None) -> None:
        with self._lock:
            place.transaction = transaction
            place.resolved = True
            self._drain()

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        try:
            while self._places and self._places[0].resolved:
                _end(self._places.popleft())
            if self._waiting:
                self._changed.notify_all()
        finally:
            self._draining = False

    def _replication(self, place: _Place) -> Replication | None:
        if not place.ended and place.resolved:
            deadline = time.monotonic() + _HANDLE_SECONDS
            with self._changed:
                self._waiting += 1
                self._changed.wait_for(lambda: place.ended, deadline - time.monotonic())
                self._waiting -= 1
        return place.replication


def _held(replicator: Replicator, transaction: Transaction) -> bool:
    try:
        return _scope.held(replicator, transaction)
    except Exception:
        failures.report("a request could not hold a transaction back")
        return False


def _end(place: _Place) -> None:
    """Submit what has its turn; an error of ours must not stop those behind it."""
    try:
        if place.transaction is not None:
            place.replication = place.transaction.commit()
    except Exception:
        failures.report("a committed transaction could not be submitted")
    finally:
        place.transaction = None
        place.ended = True


_orders: WeakValueDictionary[Hashable, CommitOrder] = WeakValueDictionary()
_lock = threading.Lock()


def order_for(key: Hashable) -> CommitOrder:
    """The order of the database that `key` identifies, `file_key` for one in a file; the same
    object for the same key for as long as anyone holds it."""
    with _lock:
        order = _orders.get(key)
        if order is None:
            order = _orders[key] = CommitOrder()
        return order


def file_key(path: str | os.PathLike[str]) -> Hashable:
    """The identity of a database file: one key for all its names."""
    try:
        found = Path(path).stat()
    except OSError:
        return os.fspath(path)
    return found.st_dev, found.st_ino


def _forget() -> None:
    """In a forked child: tickets of threads that do not exist here are never resolved."""
    global _orders, _lock
    _orders = WeakValueDictionary()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
