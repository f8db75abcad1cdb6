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
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet, WeakValueDictionary

from afterquery import _scope, _sharing
from afterquery._failures import failures

if TYPE_CHECKING:
    from afterquery._core import Replication, Replicator, Transaction

_HANDLE_SECONDS = 5.0
"""How long `Ticket.replication` waits for commits that came before: they only need the GIL."""

_HELD_SECONDS = 5.0
"""How long a commit waits for one before it that does not say how it ended."""

_RUNNING_SECONDS = 60.0
"""The same while the COMMIT of that one runs. With a WAL it lets go of the lock before it writes a
checkpoint, which may take long: the later one has passed it, and yet comes after it."""


class _Place:
    """A place in the order, taken by a ticket."""

    __slots__ = (
        "ended",
        "given_up",
        "held",
        "ran",
        "replication",
        "replicator",
        "resolved",
        "runs",
        "since",
        "transaction",
    )

    def __init__(self) -> None:
        self.resolved = False
        self.ended = False
        self.given_up = False
        self.held: bool | None = None
        """Whether a request keeps the transaction; None before it was asked."""
        self.ran: Sequence[object] = ()
        """Not empty as soon as the COMMIT has succeeded."""
        self.runs = False
        """Whether the COMMIT runs."""
        self.since = 0.0
        """When it was resolved."""
        self.replicator: Replicator | None = None
        self.transaction: Transaction | None = None
        self.replication: Replication | None = None


class Ticket:
    """The right to submit in the order of commits. One that is forgotten counts as failed."""

    __slots__ = ("_order", "place")

    def __init__(self, order: CommitOrder, place: _Place) -> None:
        self._order = order
        self.place = place
        """Set `runs` of it by hand: no signal handler can part an assignment."""

    @property
    def replication(self) -> Replication | None:
        """The handle of the write; None where nothing was committed or there was nothing to
        replicate, or where a request holds it back.

        Waits, at most 5 seconds, while a thread that committed before has not said so yet.
        """
        return self._order._replication(self.place)

    def expect(
        self, ran: Sequence[object], replicator: Replicator, transaction: Transaction
    ) -> None:
        """Say what is submitted should nobody come back to say how the COMMIT ended: `transaction`,
        if `ran` is not empty then."""
        place = self.place
        place.replicator, place.transaction, place.ran = replicator, transaction, ran

    def __del__(self) -> None:
        # Not set where an exception of a signal handler came first.
        if (place := getattr(self, "place", None)) is not None and not place.resolved:
            self._order._resolve(place, place.transaction if place.ran else None)


class CommitOrder:
    """The order in which the connections of this process commit to one database.

    An exception of a signal handler may come between any two steps: each can be done again.
    """

    def __init__(self) -> None:
        # Reentrant: a garbage collection may drop a ticket, or commit, while the lock is held.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._places: deque[_Place] = deque()
        self.file: tuple[Hashable, str] | None = None
        """The key and a path of the database, if it is one in a file."""
        self._noted: tuple[Replicator, int] | None = None
        with _lock:
            _all.add(self)

    @property
    def identity(self) -> CommitOrder | tuple[Hashable, ...]:
        """What stands for the database; that of a file for longer than anybody has it open."""
        return self if self.file is None else (self.file[0],)

    def take(self) -> Ticket:
        """A ticket. Take it while you hold the database's write lock."""
        place = _Place()
        ticket = Ticket(self, place)
        try:
            # Its own lock: nobody waits for a place while another one submits.
            self._places.append(place)
        except BaseException:
            place.resolved = True
            raise
        return ticket

    def committed(
        self, ticket: Ticket, replicator: Replicator, transaction: Transaction
    ) -> Replication | None:
        """Submit a transaction whose COMMIT succeeded, in its turn; harmless when repeated.

        Returns the handle of the write. None where there was nothing to replicate, where a request
        holds it back, and where its turn comes a moment later: see `Ticket.replication`.
        """
        place = ticket.place
        place.replicator = replicator
        # Asked here and now: the request may be over when another thread gets to the transaction.
        if place.held is None:
            place.held = _held(replicator, transaction)
        self._resolve(place, None if place.held else transaction)
        if self._noted is None or self._noted != (replicator, _generation):
            self._note(replicator)
        return place.replication

    def _note(self, replicator: Replicator) -> None:
        """Writes to this database go to this replicator, in this process."""
        if self.file is not None:
            _sharing.note(replicator, *self.file)
        self._noted = (replicator, _generation)

    def failed(self, ticket: Ticket) -> None:
        """Give a ticket back: its COMMIT failed."""
        self._resolve(ticket.place, None)

    def held(self, replicator: Replicator) -> Iterator[float]:
        """For how many seconds each commit of this replicator has been held back."""
        now = time.monotonic()
        for place in list(self._places):
            if place.resolved and not place.ended and place.replicator is replicator:
                yield now - place.since

    def look(self) -> bool:
        """Have one that says nothing for too long hold up nobody; whether any is held back."""
        with self._lock:
            now = time.monotonic()
            waiting = [place.since for place in list(self._places) if place.resolved]
            if waiting and not (first := self._places[0]).resolved:
                longest = _RUNNING_SECONDS if first.runs else _HELD_SECONDS
                if now - min(waiting) > longest:
                    self._give_up(first)
            self._drain()
            return len(self._places) > 1

    def _give_up(self, place: _Place) -> None:
        place.given_up = True
        if place.ran:
            failures.report("a commit was not told as over, and was found to be")
        else:
            place.transaction = None
            failures.report(
                "a commit did not say how it ended, and those behind it go on",
                lost=place.replicator,
            )
        place.resolved = True

    def _resolve(self, place: _Place, transaction: Transaction | None) -> None:
        with self._lock:
            if place.given_up and transaction is not None and place.replication is None:
                failures.report("a commit was submitted after those that came later")
                place.ended = False
                self._places.appendleft(place)
                place.given_up = False
            if not place.ended:
                place.since = place.since or time.monotonic()
                place.transaction = transaction
                place.resolved = True
            self._drain()
        if len(self._places) > 1 and not place.ended:
            _watch()

    def _drain(self) -> None:
        # The first one is taken off when it has ended: a drain that was interrupted goes on there.
        while self._places:
            place = self._places[0]
            if not place.resolved:
                break
            _end(place)
            with suppress(ValueError):  # a signal handler that commits may have been here
                self._places.remove(place)
        if self._waiting:
            self._changed.notify_all()

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
        failures.caught("a request could not hold a transaction back")
        return False


def _end(place: _Place) -> None:
    """Submit what has its turn, once; an error of ours must not stop those behind it."""
    transaction = place.transaction
    if transaction is not None and not place.ended:
        try:
            # It is empty where an exception came after its commit, before that was noted.
            place.replication = (
                transaction.commit() if len(transaction) else transaction.replication
            )
        except Exception:
            failures.caught("a committed transaction could not be submitted", lost=place.replicator)
    place.ended = True
    place.transaction = None


def held(replicator: Replicator) -> tuple[int, float]:
    """How many commits are held back by one that has not said how it ended, and for how many
    seconds the oldest is."""
    with _lock:
        orders = list(_all)
    ages = [age for order in orders for age in order.held(replicator)]
    return len(ages), max(ages, default=0.0)


def settle(replicator: Replicator, seconds: float) -> None:
    """Wait until no commit is held back, so many seconds at most."""
    deadline = time.monotonic() + seconds
    while held(replicator)[0] and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.01))


def _watch() -> None:
    """Have somebody look after commits that are held back."""
    global _watcher
    if _watcher is None or not _watcher.is_alive():
        _watcher = threading.Thread(target=_look_after, name="afterquery-order", daemon=True)
        _watcher.start()
    _needed.set()


def _look_after() -> None:
    while _needed.wait():
        _needed.clear()
        while True:
            time.sleep(_HELD_SECONDS / 5)
            with _lock:
                orders = list(_all)
            try:
                if sum(order.look() for order in orders) == 0:
                    break
            except Exception:
                failures.caught("commits that are held back could not be looked after")
            del orders


_generation = 0
"""Changes in a forked child."""
_needed = threading.Event()
_watcher: threading.Thread | None = None
_all: WeakSet[CommitOrder] = WeakSet()
_orders: WeakValueDictionary[Hashable, CommitOrder] = WeakValueDictionary()
_lock = threading.RLock()


def order_for(key: Hashable) -> CommitOrder:
    """The order of the database that `key` identifies, `file_key` for one in a file; the same
    object for the same key for as long as anyone holds it."""
    with _lock:
        order = _orders.get(key)
        if order is None:
            order = _orders[key] = CommitOrder()
        return order


def order_of(path: str | os.PathLike[str]) -> CommitOrder:
    """The order of the database in a file, by whatever name it is opened."""
    key = file_key(path)
    order = order_for(key)
    if isinstance(key, tuple):
        order.file = (key, os.fspath(path))
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
    global _orders, _lock, _all, _needed, _watcher, _generation
    _generation += 1
    _orders = WeakValueDictionary()
    _all = WeakSet()
    _lock = threading.RLock()
    _needed, _watcher = threading.Event(), None


os.register_at_fork(after_in_child=_forget)
