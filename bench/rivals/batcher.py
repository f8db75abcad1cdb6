"""A careful batcher in Python: for each replica one request under way, of up to 100 statements.

It keeps the order and batches as we do, so that batching alone does not flatter us. It does not
survive a lost answer: nothing tells it whether the batch was applied.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from bench.workload import TOKEN

UVLOOP = True
BATCH = 100


class Rival:
    async def start(self, urls: list[str]) -> None:
        self.session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
        self.failed = 0
        self.queues: list[asyncio.Queue[dict[str, Any]]] = [asyncio.Queue() for _ in urls]
        pairs = zip(urls, self.queues, strict=True)
        self.tasks = [asyncio.create_task(self._deliver(url, queue)) for url, queue in pairs]

    def write(self, sql: str, params: Any) -> None:
        statement = {"sql": sql, "params": params}
        for queue in self.queues:
            queue.put_nowait(statement)

    async def _deliver(self, url: str, queue: asyncio.Queue[dict[str, Any]]) -> None:
        while True:
            batch = [await queue.get()]
            while len(batch) < BATCH and not queue.empty():
                batch.append(queue.get_nowait())
            if not await self._post(url, batch):
                self.failed += len(batch)
            for _ in batch:
                queue.task_done()

    async def _post(self, url: str, batch: list[dict[str, Any]]) -> bool:
        try:
            body = {"transaction": batch}
            async with self.session.post(f"{url}/query", json=body) as answer:
                await answer.read()
                return bool(answer.ok)
        except aiohttp.ClientError:
            return False

    async def drain(self) -> int:
        for queue in self.queues:
            await queue.join()
        return self.failed

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.session.close()
