"""Wakes the relay of this process when a connection of this process has committed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from afterquery._order import CommitOrder

_events: WeakKeyDictionary[CommitOrder, tuple[threading.Event, ...]] = WeakKeyDictionary()
_lock = threading.Lock()


def listen(order: CommitOrder, event: threading.Event) -> None:
    """Set `event` at each commit to the database whose order of commits this is."""
    with _lock:
        _events[order] = (*_events.get(order, ()), event)


def forget(order: CommitOrder, event: threading.Event) -> None:
    """Do so no more."""
    with _lock:
        _events[order] = tuple(one for one in _events.get(order, ()) if one is not event)


def committed(order: CommitOrder) -> None:
    """A transaction with its row was committed."""
    for event in _events.get(order, ()):
        event.set()


def _fork() -> None:
    """In a forked child: the relay's thread is the parent's."""
    global _events, _lock
    _events = WeakKeyDictionary()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_fork)
