"""Serve a peer as a test wants it: `run_peer.py DB PORT [--rollback-on-error] [LIMIT=N ...]`."""

from __future__ import annotations

import os
import sys

from afterquery.peer import Limits
from afterquery.peer.serve import serve

if __name__ == "__main__":
    db, port, *options = sys.argv[1:]
    serve(
        db,
        "127.0.0.1",
        int(port),
        os.environ["PEER_ADMIN_TOKEN"],
        client_token=os.environ["PEER_CLIENT_TOKEN"],
        rollback_on_error="--rollback-on-error" in options,
        limits=Limits.of([option for option in options if "=" in option]),
    )
