"""The state of the replicas while the demo runs, as its screen shows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Line:
    """One replica, at one moment."""

    name: str
    state: str
    breaker: str
    pending: int
    lag: float
    delivered: int
    rejected: int
    retries: int
    reason: str | None


@dataclass(slots=True)
class Watch:
    """Asks the application for its numbers, and remembers when each write was seen first."""

    app: httpx.AsyncClient
    clock: Callable[[], float] = monotonic
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    async def look(self) -> tuple[Line, ...]:
        answer = (await self.app.get("/_demo/numbers")).json()
        now = self.clock()
        self._seen.append((now, answer["writes"]))
        lines = tuple(self._line(now, replica) for replica in answer["replicas"])
        oldest = min((replica["acknowledged"] for replica in answer["replicas"]), default=0)
        while len(self._seen) > 1 and self._seen[0][1] <= oldest:
            self._seen.popleft()
        return lines

    def _line(self, now: float, replica: dict[str, Any]) -> Line:
        return Line(
            name=replica["name"],
            state=replica["state"],
            breaker=replica["breaker"],
            pending=replica["pending"],
            lag=self._lag(now, replica) if replica["pending"] else 0.0,
            delivered=replica["fulfilled"],
            rejected=replica["rejected"],
            retries=replica["retries"],
            reason=replica["reason"],
        )

    def _lag(self, now: float, replica: dict[str, Any]) -> float:
        """How long ago the oldest write it lacks was made, as exactly as we look."""
        waiting = (seen for seen, writes in self._seen if writes > replica["acknowledged"])
        return now - next(waiting, now)
