"""What the middleware adds to a request of FastAPI.

The same application with and without it, in turn, in this one process; compare the ratios, not the
runs. First without a server, where every microsecond shows; then over HTTP, under uvicorn.

    python bench/integrations/fastapi_overhead.py
"""

from __future__ import annotations

import asyncio
import http.client
import platform
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from importlib.metadata import version
from statistics import median
from typing import Any

import uvicorn
from fastapi import FastAPI

from afterquery import Replicator, __version__, _core
from afterquery.fastapi import POSITION_HEADER, ReplicationMiddleware

ROUNDS = 40
CALLS = 100
NOBODY = "http://127.0.0.1:9"
"""No replica is there, and nothing is written."""
SETTINGS: dict[str, dict[str, Any] | None] = {
    "bare": None,
    "bare, again": None,
    "immediate": {},
    "request, position": {"commit": "request", "position_header": POSITION_HEADER},
}
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "path": "/",
    "raw_path": b"/",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"bench")],
}


def application(replicator: Replicator, settings: dict[str, Any] | None) -> FastAPI:
    app = FastAPI()
    if settings is not None:
        app.add_middleware(ReplicationMiddleware, replicator=replicator, **settings)

    @app.get("/")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    return app


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_: Any) -> None:
    pass


async def in_process(apps: dict[str, FastAPI]) -> dict[str, list[float]]:
    """Microseconds of each call, by application."""
    times: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(ROUNDS):
        for name, app in apps.items():
            for _ in range(CALLS):
                start = time.perf_counter()
                await app(dict(SCOPE), receive, send)
                times[name].append((time.perf_counter() - start) * 1e6)
    return times


def over_http() -> dict[str, list[float]]:
    """The same over connections that stay open, each application in a process of its own."""
    times: dict[str, list[float]] = {name: [] for name in SETTINGS}
    with ExitStack() as stack:
        clients = {name: stack.enter_context(closing(served(name, stack))) for name in SETTINGS}
        for _ in range(ROUNDS):
            for name, client in clients.items():
                for _ in range(CALLS):
                    start = time.perf_counter()
                    client.request("GET", "/")
                    assert client.getresponse().read()
                    times[name].append((time.perf_counter() - start) * 1e6)
    return times


def served(name: str, stack: ExitStack) -> http.client.HTTPConnection:
    process = stack.enter_context(
        subprocess.Popen([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    return http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()))


def serve(name: str) -> None:
    """What the processes run."""
    # asyncio switches Nagle's algorithm off only where the protocol is named.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        app = application(Replicator([NOBODY]), SETTINGS[name])
        config = uvicorn.Config(app, log_level="error", access_log=False, timeout_keep_alive=600)
        uvicorn.Server(config).run([listener])


def show(title: str, times: dict[str, list[float]]) -> None:
    print(f"\n{title:<22} {'median':>9} {'p99':>9} {'ratio':>7}")
    bare = median(times["bare"])
    for name, taken in times.items():
        p99 = sorted(taken)[len(taken) * 99 // 100]
        middle = median(taken)
        print(f"{name:<22} {middle:>6.1f} µs {p99:>6.1f} µs {middle / bare:>7.3f}")


def main() -> None:
    if _core.__profile__ != "release":
        raise SystemExit("the core is a debug build: its figures would mean nothing")
    versions = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "starlette", "uvicorn"))
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}")
    print(f"afterquery {__version__}, {versions}; {ROUNDS} rounds of {CALLS} requests each")
    replicator = Replicator([NOBODY])
    apps = {name: application(replicator, settings) for name, settings in SETTINGS.items()}
    asyncio.run(in_process(apps))  # warm
    show("without a server", asyncio.run(in_process(apps)))
    show("over HTTP", over_http())
    replicator.close(0)


if __name__ == "__main__":
    serve(sys.argv[1]) if len(sys.argv) > 1 else main()
