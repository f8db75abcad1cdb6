"""The order in which transactions of one database committed, whichever thread reports first.

A connection takes a ticket while it holds SQLite's write lock, directly before its COMMIT: no
other connection can commit in between, so tickets are in commit order. What committed is submitted
in the order of the tickets.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

from afterquery import _scope

if TYPE_CHECKING:
    from afterquery._core import Replicator, Transaction


class _Ready(NamedTuple):
    scope: _scope.Scope | None
    replicator: Replicator
    transaction: Transaction


class CommitOrder:
    """The tickets of one database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._next = 1
        self._ready: dict[int, _Ready | None] = {}

    def take(self) -> int:
        """A ticket, for a connection that holds the write lock and is about to commit."""
        with self._lock:
            self._last += 1
            return self._last

    def committed(self, ticket: int, replicator: Replicator, transaction: Transaction) -> None:
        """The COMMIT succeeded: `transaction` is submitted in its turn."""
        # Its turn may come in another thread, which handles another request.
        self._end(ticket, _Ready(_scope.current.get(), replicator, transaction))

    def failed(self, ticket: int) -> None:
        """The COMMIT failed: nobody waits for it any more."""
        self._end(ticket, None)

    def _end(self, ticket: int, ready: _Ready | None) -> None:
        with self._lock:
            self._ready[ticket] = ready
            while self._next in self._ready:
                turn = self._ready.pop(self._next)
                self._next += 1
                if turn is not None:
                    _scope.submit_to(*turn)


_orders: dict[Hashable, CommitOrder] = {}
_lock = threading.Lock()


def order_for(key: Hashable) -> CommitOrder:
    """The order of the database that `key` names: its real path, say."""
    with _lock:
        return _orders.setdefault(key, CommitOrder())
