"""What the integrations know of a replicator's replicas: `Replicator.stats().integrations` asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from afterquery import _order, _sharing
from afterquery._failures import failures

if TYPE_CHECKING:
    from afterquery._core import Replicator
    from afterquery._failures import Losing
    from afterquery._order import CommitOrder


Health: TypeAlias = "tuple[Mapping[str, int], Mapping[str, int], int, float, str | None]"


def of(replicator: Replicator) -> Health:
    """Errors of this process and those of this replicator, for each kind; how many of its commits
    are held back, and for how many seconds the oldest is; why their order may be wrong."""
    held, oldest = _order.held(replicator)
    lost = failures.lost(replicator, *_sources.get(replicator, ()))
    return failures.counts(), lost, held, oldest, _sharing.unordered(replicator)


_sources: WeakKeyDictionary[Replicator, tuple[Losing, ...]] = WeakKeyDictionary()


def relays(replicator: Replicator, order: CommitOrder) -> None:
    """What is lost between the database of this order and its outbox, its replicas lack."""
    _sources[replicator] = (order.identity,)


def confirm_equal(replicator: Replicator) -> None:
    """Say that the replicas are as the primary is now: after they were all filled from a copy, or
    compared with it.

    Forgets what they may have missed until now (`stats().integrations.missed`), and processes that
    wrote too and have ended (`unordered`): `flush()` can be True again. Say it in each process that
    writes.
    """
    failures.set_right(replicator, *_sources.get(replicator, ()))
    _sharing.look_again(replicator)


def settle(replicator: Replicator, seconds: float) -> None:
    """Wait until no commit is held back, so many seconds at most."""
    _order.settle(replicator, seconds)
