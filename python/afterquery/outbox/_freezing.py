"""A replicator that only freezes: with an outbox it is the relay that delivers."""

from __future__ import annotations

import os
from functools import cache

from afterquery._core import Replicator


@cache
def freezer() -> Replicator:
    """A replicator for `before_query` alone. It is closed, and sends nothing."""
    replicator = Replicator(["http://127.0.0.1:9"], auth_token="-")
    replicator.close(0)
    return replicator


os.register_at_fork(after_in_child=freezer.cache_clear)
