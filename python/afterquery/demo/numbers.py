"""What the application tells the demo about its replication while it runs."""

from __future__ import annotations

from array import array
from statistics import median
from typing import Any

from afterquery import ReplicaStats
from afterquery.demo.database import Database

SHOWN = (
    "name", "state", "breaker", "pending", "pending_bytes", "acknowledged", "fulfilled", "rejected",
    "requests", "retries", "changes_differ", "reason",
)  # fmt: skip


def numbers(db: Database, *, took: bool) -> dict[str, Any]:
    """`took` sorts every measured call, so it is asked for once, at the end."""
    stats = db.replicator.stats()
    answer: dict[str, Any] = {
        "writes": stats.writes,
        "skipped": dict(stats.skipped),
        "replicas": [replica(each) for each in stats.replicas],
    }
    if took:
        answer["took"] = {kind: spread(calls) for kind, calls in db.took.items()}
        answer["dead_letters"] = [
            {"replica": letter.replica, "reason": letter.reason, "statements": letter.statements}
            for letter in db.replicator.dead_letters()
        ]
    return answer


def replica(stats: ReplicaStats) -> dict[str, Any]:
    return {name: getattr(stats, name) for name in SHOWN}


def spread(nanoseconds: array[int]) -> dict[str, float]:
    """Number, median and 99th percentile, in microseconds."""
    calls = sorted(nanoseconds)
    if not calls:
        return {"calls": 0, "median": 0.0, "p99": 0.0}
    p99 = calls[min(len(calls) - 1, len(calls) * 99 // 100)]
    return {"calls": len(calls), "median": median(calls) / 1000, "p99": p99 / 1000}
