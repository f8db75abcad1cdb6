"""One harness for all: what is handed over, at what pace, and which times are taken."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from bench.measure import Numbers
from bench.workload import WRITE, row

WINDOW = 6
"""Writes under way at a time, where each is a task of its own.

It is where these rivals are fastest: three posts each stay within the 20 connections that httpx
keeps. With 100 writes under way httpx takes four times as long for each; without any bound it gives
up on most of them, waiting for a free connection.
"""

TURN = 50
"""Writes handed over before the loop has a turn."""


class Rival(Protocol):
    """Delivers writes to three replicas."""

    async def start(self, urls: list[str]) -> None:
        """Get ready."""

    def write(self, sql: str, params: Any) -> asyncio.Task[Any] | None:
        """What the request's code does. A task, where there is one for each write."""

    async def drain(self) -> int:
        """Wait until everything has its outcome; how many posts failed."""

    async def close(self) -> None:
        """Leave nothing open."""


def measure(name: str, writes: int, urls: list[str]) -> Numbers:
    """Seconds until all is delivered, and of processor time: the loop's thread, the process."""
    module = importlib.import_module(f"bench.rivals.{name}")
    work = _measure(module.Rival(), writes, urls)
    return _run(work, on_uvloop=getattr(module, "UVLOOP", False))


def _run(work: Coroutine[Any, Any, Numbers], *, on_uvloop: bool) -> Numbers:
    if not on_uvloop:
        return asyncio.run(work)
    import uvloop

    found: Numbers = uvloop.run(work)
    return found


async def _measure(rival: Rival, writes: int, urls: list[str]) -> Numbers:
    await rival.start(urls)
    await _hand_over(rival, range(-10, 0))
    await rival.drain()
    begin, loop, process = time.perf_counter(), time.thread_time(), time.process_time()
    await _hand_over(rival, range(writes))
    failed = await rival.drain()
    times = (time.perf_counter(), time.thread_time(), time.process_time())
    await rival.close()
    return {
        "writes": writes,
        "failed": failed,
        "seconds": times[0] - begin,
        "loop_seconds": times[1] - loop,
        "process_seconds": times[2] - process,
    }


async def _hand_over(rival: Rival, numbers: range) -> None:
    free = asyncio.Semaphore(WINDOW)
    for count, n in enumerate(numbers, 1):
        task = rival.write(WRITE, row(n))
        if task is not None:
            await free.acquire()
            task.add_done_callback(lambda _: free.release())
        if count % TURN == 0:
            await asyncio.sleep(0)
