"""A replica of one's own: StarbaseDB's query protocol on a SQLite file.

`Peer` is an ASGI application without dependencies. Serve it with `afterquery peer`, or mount it in
an application that wants its copy of the data at hand.
"""

from afterquery.peer.app import Peer

__all__ = ["Peer"]
