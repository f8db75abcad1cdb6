"""A thread with a queue, and requests."""

from __future__ import annotations

from typing import Any

import requests

from bench.rivals.queue_thread import Post, QueueThread
from bench.workload import TOKEN


class Rival(QueueThread):
    def post(self) -> Post:
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {TOKEN}"

        def post(url: str, body: dict[str, Any]) -> bool:
            try:
                return bool(session.post(url, json=body, timeout=30).ok)
            except requests.RequestException:
                return False

        return post
