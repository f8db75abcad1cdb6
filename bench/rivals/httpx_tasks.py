"""A task for each write, which posts to all replicas at once with httpx."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from bench.workload import TOKEN


class Rival:
    async def start(self, urls: list[str]) -> None:
        self.urls = urls
        self.client = httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"})
        self.tasks: set[asyncio.Task[None]] = set()
        self.failed = 0

    def write(self, sql: str, params: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(self.replicate({"sql": sql, "params": params}))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def replicate(self, body: dict[str, Any]) -> None:
        posts = [self.client.post(f"{url}/query", json=body) for url in self.urls]
        answers = await asyncio.gather(*posts, return_exceptions=True)
        ok = [isinstance(answer, httpx.Response) and answer.is_success for answer in answers]
        self.failed += ok.count(False)

    async def drain(self) -> int:
        await asyncio.gather(*self.tasks)
        return self.failed

    async def close(self) -> None:
        await self.client.aclose()
