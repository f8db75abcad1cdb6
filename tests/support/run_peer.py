"""Serve a peer as a test wants it.

`run_peer.py DB PORT [--rollback-on-error] [--starbasedb] [LIMIT=N ...]`: with `--starbasedb` a text
may be as long as StarbaseDB takes it, and no longer.
"""

from __future__ import annotations

import os
import sys

from afterquery.peer import Limits
from afterquery.peer.app import MAX_SQL_BYTES
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
        max_sql_bytes=100_000 if "--starbasedb" in options else MAX_SQL_BYTES,
    )
