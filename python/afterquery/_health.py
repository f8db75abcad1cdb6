"""What the integrations know of a replicator's replicas: `Replicator.stats().integrations` asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from afterquery import _order
from afterquery._failures import failures

if TYPE_CHECKING:
    from afterquery._core import Replicator


def of(replicator: Replicator) -> tuple[Mapping[str, int], Mapping[str, int], int, float]:
    """Errors of this process and those of this replicator, for each kind; how many of its commits
    are held back, and for how many seconds the oldest is."""
    held, oldest = _order.held(replicator)
    return failures.counts(), failures.lost(replicator), held, oldest


def settle(replicator: Replicator, seconds: float) -> None:
    """Wait until no commit is held back, so many seconds at most."""
    _order.settle(replicator, seconds)
