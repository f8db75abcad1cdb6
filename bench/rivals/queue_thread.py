"""A thread with a queue: what a careful user writes who does not want it on the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

Post = Callable[[str, dict[str, Any]], bool]
"""Posts one body to one URL; whether that worked."""


class QueueThread:
    """Posts each write to one replica after the other, in order."""

    def post(self) -> Post:
        raise NotImplementedError

    async def start(self, urls: list[str]) -> None:
        self.failed = 0
        self.queue: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._work, args=(urls, self.post()), daemon=True).start()

    def write(self, sql: str, params: Any) -> None:
        self.queue.put({"sql": sql, "params": params})

    def _work(self, urls: list[str], post: Post) -> None:
        while True:
            body = self.queue.get()
            for url in urls:
                self.failed += not post(f"{url}/query", body)
            self.queue.task_done()

    async def drain(self) -> int:
        await asyncio.to_thread(self.queue.join)
        return self.failed

    async def close(self) -> None:
        """The thread is a daemon."""
