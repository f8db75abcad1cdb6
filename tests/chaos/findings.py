"""What the checker found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Wrong = Literal[
    "lost", "doubled", "misplaced", "outcome", "rows", "copies", "unsettled", "late", "broken"
]
"""In `copies` two replicas differ; in `rows` one differs from what ran on it, or the primary."""


@dataclass
class Findings:
    """What is wrong, by kind, with examples."""

    committed: int = 0
    unsaved: int = 0
    """Lost with their process, which had said that they were not in the journal yet."""
    told: int = 0
    """Missing with a word: the journal was damaged, and the user was told."""
    wrong: Counter[Wrong] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, kind: Wrong, what: str) -> None:
        self.wrong[kind] += 1
        if self.wrong[kind] <= 3:
            self.examples.append(f"{kind}: {what}")

    def add_all(self, other: Findings) -> None:
        self.committed += other.committed
        self.unsaved += other.unsaved
        self.told += other.told
        self.wrong += other.wrong
        self.examples += other.examples
