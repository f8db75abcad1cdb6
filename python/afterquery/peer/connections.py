"""The connections of a served peer: how many, and how long one may take to say what it wants.

Nobody needs a token to open a connection, so a stranger must never take the place of who has one.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from afterquery.peer.app import ROLE
from afterquery.peer.auth import Role
from afterquery.peer.limits import Limits

if TYPE_CHECKING:
    _Base = Any
else:
    _Base = object

BACKLOG = 64
"""How many connections the system accepts before this module sees the first of them."""

_RESERVED = 64
"""Descriptors for everything else: the files, the processes that read, the listener."""


class Guests:
    """The open connections; one event loop."""

    def __init__(self, limits: Limits, met: Callable[[str], None]) -> None:
        self._most = min(limits.max_connections, _room())
        self._head_seconds = limits.max_head_seconds
        self._send_seconds = limits.max_send_seconds
        self._met = met
        self._all: set[Guest] = set()

    def enter(self, guest: Guest) -> None:
        """Take a new connection in; if there are too many, the one least needed has to go."""
        if len(self._all) >= self._most:
            self._met("max_connections")
            least = min(self._all, key=Guest.worth)
            if least.role == Role.ADMIN:
                guest.transport.abort()
                return
            self._all.discard(least)
            least.transport.abort()
        self._all.add(guest)

    def leave(self, guest: Guest) -> None:
        """A connection is closed."""
        self._all.discard(guest)

    def sweep(self) -> None:
        """End those that have been asking, or not taking their answer, for too long."""
        now = asyncio.get_running_loop().time()
        for guest in list(self._all):
            if guest.asks_since is not None and now - guest.asks_since > self._head_seconds:
                self._end(guest, "max_head_seconds")
            elif guest.stuck_for(now) > self._send_seconds:
                self._end(guest, "max_send_seconds")

    def _end(self, guest: Guest, limit: str) -> None:
        self._met(limit)
        self._all.discard(guest)
        guest.transport.abort()


class Guest(_Base):  # type: ignore[misc]
    """What is added to uvicorn's protocol of one connection."""

    guests: Guests
    transport: asyncio.Transport
    scope: dict[str, Any] | None
    cycle: Any

    asks_since: float | None = None
    """Since when a request has been coming whose head is not whole; None while none is."""
    _came: float = 0.0
    _stuck_since: float | None = None

    @property
    def role(self) -> int:
        """That of its last request; 0 when it had none."""
        return int(self.scope.get(ROLE, 0)) if self.scope else 0

    def worth(self) -> tuple[int, float]:
        """The least goes first: of those with the lowest role the oldest."""
        return self.role, self._came

    def stuck_for(self, now: float) -> float:
        """For how many seconds something has waited to be taken."""
        if not self.transport.get_write_buffer_size():
            self._stuck_since = None
            return 0.0
        if self._stuck_since is None:
            self._stuck_since = now
        return now - self._stuck_since

    def connection_made(self, transport: asyncio.Transport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._came = self.asks_since = asyncio.get_running_loop().time()
        self.guests.enter(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.asks_since is None and not self._is_answered():
            self.asks_since = asyncio.get_running_loop().time()
        super().data_received(data)
        if self._is_answered():
            # From here on the application has its own limits.
            self.asks_since = None

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.guests.leave(self)
        super().connection_lost(error)

    def _is_answered(self) -> bool:
        """Whether the application works on a request of it."""
        return self.cycle is not None and not self.cycle.response_complete


def watched(guests: Guests) -> type[asyncio.Protocol]:
    """The protocol that uvicorn would choose, with its connections among `guests`."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    return type("WatchedProtocol", (Guest, AutoHTTPProtocol), {"guests": guests})


def _room() -> int:
    """How many connections the limit on open files has room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    return max(1, soft - _RESERVED - BACKLOG)
