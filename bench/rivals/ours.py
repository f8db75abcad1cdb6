"""This library."""

from __future__ import annotations

from typing import Any

from afterquery import Replicator
from bench.workload import TOKEN


class Rival:
    async def start(self, urls: list[str]) -> None:
        self.replicator = Replicator(urls, auth_token=TOKEN)

    def write(self, sql: str, params: Any) -> None:
        self.replicator.after_query(sql, params, 1)

    async def drain(self) -> int:
        assert await self.replicator.aflush(60)
        stats = self.replicator.stats()
        return sum(stats.writes - replica.fulfilled for replica in stats.replicas)

    async def close(self) -> None:
        await self.replicator.aclose()
