"""A thread with a queue, and httpx."""

from __future__ import annotations

from typing import Any

import httpx

from bench.rivals.queue_thread import Post, QueueThread
from bench.workload import TOKEN


class Rival(QueueThread):
    def post(self) -> Post:
        client = httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"})

        def post(url: str, body: dict[str, Any]) -> bool:
            try:
                return client.post(url, json=body).is_success
            except httpx.HTTPError:
                return False

        return post
