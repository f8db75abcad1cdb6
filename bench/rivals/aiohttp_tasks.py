"""The same with aiohttp on uvloop, the fastest of its kind in Python."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from bench.workload import TOKEN

UVLOOP = True


class Rival:
    async def start(self, urls: list[str]) -> None:
        self.urls = urls
        self.session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
        self.tasks: set[asyncio.Task[None]] = set()
        self.failed = 0

    def write(self, sql: str, params: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(self._replicate({"sql": sql, "params": params}))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _post(self, url: str, body: dict[str, Any]) -> None:
        async with self.session.post(f"{url}/query", json=body) as answer:
            answer.raise_for_status()
            await answer.read()

    async def _replicate(self, body: dict[str, Any]) -> None:
        posts = [self._post(url, body) for url in self.urls]
        answers = await asyncio.gather(*posts, return_exceptions=True)
        self.failed += sum(answer is not None for answer in answers)

    async def drain(self) -> int:
        await asyncio.gather(*self.tasks)
        return self.failed

    async def close(self) -> None:
        await self.session.close()
