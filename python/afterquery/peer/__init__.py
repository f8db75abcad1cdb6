"""A replica of one's own: StarbaseDB's query protocol on a SQLite file.

`Peer` is an ASGI application without dependencies. Serve it with `afterquery peer`, or mount it in
an application that wants its copy of the data at hand. `Limits` is what strangers are held to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from afterquery.peer.limits import Limits

if TYPE_CHECKING:
    from afterquery.peer.app import Peer

__all__ = ["Limits", "Peer"]


def __getattr__(name: str) -> object:
    # A process that only reads imports this package, too, and starts faster without asyncio.
    if name == "Peer":
        from afterquery.peer.app import Peer

        return Peer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
