"""The endpoint under load: one INSERT into the application's own SQLite, then replication.

python -m bench.endpoint_app HOW DATABASE URL... prints its port and serves until it is told to end.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, Body, FastAPI

from bench.measure import percentile
from bench.rivals import aiohttp_tasks, drive, httpx_tasks, ours

INSERT = "INSERT INTO users (id, name, email, score, note) VALUES (?, ?, ?, ?, ?)"
PROBE_SECONDS = 0.01

SENDERS: dict[str, Callable[[], drive.Rival]] = {
    "ours": ours.Rival,
    "aiohttp_tasks": aiohttp_tasks.Rival,
    "background_httpx": httpx_tasks.Rival,
}


class Numbers:
    """How late the event loop comes to a timer, and the process's time."""

    def __init__(self) -> None:
        self.lags: list[float] = []

    async def probe(self) -> None:
        while True:
            due = time.perf_counter() + PROBE_SECONDS
            await asyncio.sleep(PROBE_SECONDS)
            self.lags.append(time.perf_counter() - due)

    def take(self) -> dict[str, float]:
        lags, self.lags = self.lags or [0.0], []
        return {
            "lag_p50_us": percentile(lags, 50) * 1e6,
            "lag_p99_us": percentile(lags, 99) * 1e6,
            "cpu_seconds": time.process_time(),
        }


def application(how: str, database: str, urls: list[str]) -> FastAPI:
    numbers = Numbers()
    sender: drive.Rival | None = SENDERS[how]() if how in SENDERS else None
    db = sqlite3.connect(database, isolation_level=None)
    db.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name, email, score REAL, note)"
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if sender:
            await sender.start(urls)
        probe = asyncio.create_task(numbers.probe())
        yield
        probe.cancel()
        if sender:
            await sender.close()

    app = FastAPI(lifespan=lifespan)
    last = iter(range(1 << 60))

    def insert(name: str) -> tuple[Any, ...]:
        row = (next(last), name, "ada@example.com", 1.5, None)
        db.execute(INSERT, row)
        return row

    @app.post("/users")
    async def add(name: str = Body(embed=True)) -> dict[str, int]:
        row = insert(name)
        if sender:
            sender.write(INSERT, row)
        return {"id": row[0]}

    @app.post("/background")
    async def add_in_background(
        tasks: BackgroundTasks, name: str = Body(embed=True)
    ) -> dict[str, int]:
        row = insert(name)
        assert isinstance(sender, httpx_tasks.Rival)
        tasks.add_task(sender.replicate, {"sql": INSERT, "params": row})
        return {"id": row[0]}

    @app.get("/numbers")
    async def show() -> dict[str, float]:
        """What was measured since the last time; waits until everything is delivered."""
        found = numbers.take()
        found["failed"] = await sender.drain() if sender else 0
        # What is done after the answers belongs to them.
        found["cpu_seconds"] = time.process_time()
        numbers.take()
        return found

    return app


def main() -> None:
    how, database, *urls = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = application(how, database, urls)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
