"""What a committed transaction passes through on its way to the replicator.

An integration hands each committed transaction to `submit`. Where a request scope is open that
holds writes back until the request succeeds (`afterquery.fastapi`), the scope keeps it; else it
is submitted at once.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from afterquery._core import Replication, Replicator, Transaction


class Scope(Protocol):
    """Where writes wait for the end of a request."""

    def hold(self, replicator: Replicator, transaction: Transaction) -> bool:
        """Keep `transaction` until the end; False to have it submitted at once."""


current: ContextVar[Scope | None] = ContextVar("afterquery_scope", default=None)
"""The scope of the request that is being handled."""


def held(replicator: Replicator, transaction: Transaction) -> bool:
    """Whether the current request keeps a committed transaction until it succeeds."""
    scope = current.get()
    return scope is not None and scope.hold(replicator, transaction)


def submit(replicator: Replicator, transaction: Transaction) -> Replication | None:
    """Submit a committed transaction as one write, now or when the current request succeeds.

    Returns its handle; None when it holds nothing to replicate or when the scope keeps it.
    """
    return None if held(replicator, transaction) else transaction.commit()
