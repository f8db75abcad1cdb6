"""Serving a peer by itself, with uvicorn."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from afterquery._errors import ConfigurationError
from afterquery.peer.app import MAX_SQL_BYTES, Peer
from afterquery.peer.auth import Tokens
from afterquery.peer.connect import Synchronous
from afterquery.peer.connections import BACKLOG, Guests, watched
from afterquery.peer.limits import Limits

if TYPE_CHECKING:
    import uvicorn

GRACE_SECONDS = 6
"""How long a stop waits for requests under way, in seconds; with what follows it is below the 10 s
that a container has before it is killed."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open, in seconds: longer than senders keep theirs."""

_TICKS = 10
"""uvicorn ticks every tenth of a second."""


def serve(
    db: str | os.PathLike[str],
    host: str,
    port: int,
    admin_token: str | Tokens,
    *,
    client_token: str | None = None,
    rollback_on_error: bool = False,
    synchronous: Synchronous = "FULL",
    limits: Limits | None = None,
    max_sql_bytes: int = MAX_SQL_BYTES,
) -> None:
    """Serve `db` until SIGTERM or SIGINT; port 0 takes a free one. Prints a line when ready."""
    tokens = Tokens.of(admin_token, client_token)
    # No frame below has a token in a variable, where a report of an error would show it.
    del admin_token, client_token
    app = Peer(
        db,
        admin_token=tokens,
        rollback_on_error=rollback_on_error,
        synchronous=synchronous,
        limits=limits,
        max_sql_bytes=max_sql_bytes,
    )
    server = _server(app)
    with _listening(host, port) as listener, _stops_quietly():
        server.run(sockets=[listener])


def _server(app: Peer) -> uvicorn.Server:
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigurationError(
            "serving a peer needs uvicorn: pip install 'afterquery[peer]'"
        ) from error

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for listener in sockets or ():
                print(f"listening on {_url(listener)}", flush=True)

        async def on_tick(self, counter: int) -> bool:
            if counter % _TICKS == 0:
                guests.sweep()
            return await super().on_tick(counter)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            reads = asyncio.get_running_loop().run_in_executor(None, app.end_reads)
            await super().shutdown(sockets)
            await reads

    guests = Guests(app.limits, app.met)
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        http=watched(guests),
        backlog=BACKLOG,
        # What strangers do wrong is no warning.
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(config)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
    with listener:
        # A restart must not wait until the old connections are forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _stops_quietly() -> Iterator[None]:
    """End normally on a signal: uvicorn stops gracefully and then raises it once more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
