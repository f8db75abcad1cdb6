"""Errors of an integration's own code: logged and counted, never the application's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger("afterquery")

errors: Counter[str] = Counter()
"""How often what failed, in this process."""


@contextmanager
def guard(doing: str) -> Iterator[None]:
    """Let no exception out of the block; `doing` says in the log what failed."""
    try:
        yield
    except Exception:
        errors[doing] += 1
        _log.exception("%s failed: the application goes on, replicas may miss a write", doing)
