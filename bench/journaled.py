"""Whether this version has a journal on disk; the scenarios that need one say so if not."""

from __future__ import annotations

import inspect
from typing import Any

from afterquery import Replicator
from bench.measure import Numbers

DURABILITIES = ("async", "process", "disk")


def has_journal() -> bool:
    return "journal" in inspect.signature(Replicator).parameters


def settings(durability: str, folder: str) -> dict[str, Any]:
    """For `Replicator`; "memory" is without a journal on disk."""
    if durability == "memory":
        return {}
    return {"journal": folder, "durability": durability}


def skipped(name: str) -> Numbers:
    print(f"SKIPPED: {name}: this version has no journal on disk", flush=True)
    return {"skipped": "this version has no journal on disk"}
