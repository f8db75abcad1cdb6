"""What one request hands over, and what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from afterquery import _scope
from afterquery._core import Replicator, Transaction
from afterquery._failures import failures
from afterquery.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from afterquery.fastapi import asgi


class RequestTransaction:
    """One write for all that a request tells by hand: submitted when it succeeds, else dropped.

    What is told when that is decided already (in a background task, or while a response streams)
    is submitted at once.
    """

    def __init__(self, replicator: Replicator) -> None:
        self.replicator = replicator
        self._lock = threading.Lock()
        self._open: Transaction | None = replicator.transaction()

    def after_query(
        self,
        sql: str,
        params: Any = None,
        result: Any = None,
        *,
        many: bool = False,
        rows: Iterable[Any] | None = None,
        key: str | Iterable[str] | None = None,
    ) -> None:
        """As `Replicator.after_query`, but as part of the request's write."""
        # The lock: what is told before the end is not to be lost at the end.
        with self._lock:
            target = self.replicator if self._open is None else self._open
            target.after_query(sql, params, result, many=many, rows=rows, key=key)

    def rollback(self) -> None:
        """Drop what was told so far, because it was rolled back; more can be told."""
        with self._lock:
            if self._open is not None:
                self._open.rollback_to(0)

    def end(self) -> Transaction | None:
        """What was gathered; from now on everything goes at once."""
        with self._lock:
            transaction, self._open = self._open, None
            return transaction


class RequestScope:
    """Holds a request's writes back, if it is `holding`, until its `end`.

    The first call of `end` decides; what is handed over later is submitted at once. Used from the
    event loop and from threads.
    """

    __slots__ = (
        "_deciding",
        "_find",
        "_held",
        "_lock",
        "_outer",
        "_positions",
        "_transaction",
        "_unnumbered",
        "request",
    )

    def __init__(
        self,
        request: asgi.Scope,
        find: Callable[[asgi.Scope], Replicator],
        outer: _scope.Scope | None,
        *,
        holding: bool,
        deciding: bool,
    ) -> None:
        self.request = request
        self._find = find
        self._outer = outer
        self._lock = threading.RLock()
        self._held: list[tuple[Replicator, Transaction]] | None = [] if holding else None
        self._deciding = deciding
        self._transaction: RequestTransaction | None = None
        self._unnumbered: list[Transaction] = []
        self._positions: dict[str, int] = {}

    @property
    def replicator(self) -> Replicator:
        """The replicator of this request. Raises `RuntimeError` where there is none."""
        return self._find(self.request)

    @property
    def position(self) -> str:
        """The last write submitted so far, for each origin; empty where there is none."""
        with self._lock:
            self._number()
            return ", ".join(str(Position(*item)) for item in self._positions.items())

    @property
    def numbered(self) -> bool:
        """Whether each write has its number: where threads commit at the same time, one that
        committed before this request may have to come first."""
        with self._lock:
            self._number()
            return not self._unnumbered

    def transaction(self) -> RequestTransaction:
        """The write of what is told by hand."""
        with self._lock:
            if self._transaction is None:
                self._transaction = RequestTransaction(self.replicator)
                if not self._deciding:
                    self._transaction.end()
            return self._transaction

    def hold(self, replicator: Replicator, transaction: Transaction) -> bool:
        with self._lock:
            if self._held is not None:
                self._held.append((replicator, transaction))
                return True
            return self._passed_on(replicator, transaction)

    def end(self, *, succeeded: bool) -> None:
        """Submit what was held, in the order in which it was handed over; or drop it."""
        if not self._deciding and self._held is None:
            return
        # Under the lock: what another thread hands over meanwhile comes after it.
        with self._lock:
            for replicator, transaction in self._held_back():
                try:
                    if not succeeded:
                        transaction.rollback()
                    elif not self._passed_on(replicator, transaction):
                        transaction.commit()
                except Exception:
                    failures.caught("a request's write could not be submitted or dropped")
            self._deciding = False

    def _held_back(self) -> list[tuple[Replicator, Transaction]]:
        """What was held: by integrations first, then what was told by hand."""
        held, self._held = self._held or [], None
        by_hand = self._transaction.end() if self._transaction is not None else None
        if self._transaction is not None and by_hand is not None:
            held.append((self._transaction.replicator, by_hand))
        return held

    def _passed_on(self, replicator: Replicator, transaction: Transaction) -> bool:
        """Whether an outer scope keeps it; if not, it becomes a write of this request now."""
        if self._outer is not None and self._outer.hold(replicator, transaction):
            return True
        self._number()
        if self._deciding and len(transaction):
            self._unnumbered.append(transaction)
        return False

    def _number(self) -> None:
        for transaction in list(self._unnumbered):
            replication = transaction.replication
            if replication is not None:
                self._unnumbered.remove(transaction)
                before = self._positions.get(replication.origin, 0)
                self._positions[replication.origin] = max(before, replication.seq)
