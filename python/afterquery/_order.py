"""Commit order is seq order, also where several connections commit at the same time.

Whoever commits takes a ticket while it holds SQLite's write lock, directly before its COMMIT: the
tickets of a database are therefore in the order of its commits. Transactions are handed over in
the order of the tickets, whichever thread hears of its commit first. Nobody waits: a transaction
whose turn has not come is handed over by the one it waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from contextvars import copy_context
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakValueDictionary

from afterquery import _scope

if TYPE_CHECKING:
    from afterquery._core import Replication, Replicator, Transaction

Ticket: TypeAlias = int

_orders: WeakValueDictionary[Hashable, CommitOrder] = WeakValueDictionary()
_orders_lock = Lock()


def file_key(path: str | os.PathLike[str]) -> Hashable:
    """The identity of a database file: one key for all its names."""
    try:
        found = Path(path).stat()
    except OSError:
        return os.fspath(path)
    return found.st_dev, found.st_ino


def order_for(key: Hashable) -> CommitOrder:
    """The order of one database, named by `key`; keep it as long as its connection is open."""
    with _orders_lock:
        order = _orders.get(key)
        if order is None:
            order = _orders[key] = CommitOrder()
        return order


class CommitOrder:
    """The order in which one database's transactions are handed over."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._taken = 0
        self._turn = 0
        self._ended: dict[int, Callable[[], object] | None] = {}

    def take(self) -> Ticket:
        """A ticket. Call it while holding SQLite's write lock, directly before COMMIT."""
        with self._lock:
            self._taken += 1
            return self._taken - 1

    def committed(
        self, ticket: Ticket, replicator: Replicator, transaction: Transaction
    ) -> Replication | None:
        """The COMMIT has succeeded: hand `transaction` over in its turn.

        Returns its handle; None when a scope keeps it, when it holds nothing to replicate, or when
        an earlier ticket is still open: `transaction.replication` has it later.
        """
        context = copy_context()  # the scope is that of the caller, whoever hands over
        self._end(ticket, lambda: context.run(_scope.submit, replicator, transaction))
        return transaction.replication

    def failed(self, ticket: Ticket) -> None:
        """There was no commit: whoever comes after this ticket need not wait for it."""
        self._end(ticket, None)

    def _end(self, ticket: Ticket, hand_over: Callable[[], object] | None) -> None:
        with self._lock:
            self._ended[ticket] = hand_over
            while self._turn in self._ended:
                ready = self._ended.pop(self._turn)
                self._turn += 1
                if ready is not None:
                    ready()
