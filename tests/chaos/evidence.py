"""What the application did and was told, gathered after its end."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from chaos import told
from chaos.drain import Drained
from chaos.told import Ends, Handed, Known
from chaos.work import Spec, specs


@dataclass(frozen=True)
class Copy:
    """What a replica was synced from: the primary after its write number `k`."""

    k: int
    image: Path


@dataclass
class Evidence:
    """What the application did and was told."""

    primary: Path
    committed: dict[int, Spec]
    handed: dict[int, Handed]
    known: list[Known]
    promised: dict[str, int]
    """By origin: its writes up to this one must not be lost."""
    letters: set[tuple[str, str, int]]
    copies: Mapping[str, Copy] = field(default_factory=dict)
    """By replica: the last copy that it was synced from."""

    @classmethod
    def gather(
        cls,
        folder: Path,
        durability: str,
        drained: Drained,
        copies: Mapping[str, Copy] | None = None,
    ) -> Evidence:
        primary = folder / "primary.db"
        with closing(sqlite3.connect(primary)) as connection:
            committed = specs(connection)
        lines = list(told.read(folder / "told.jsonl"))
        handed = {line.k: line for line in lines if isinstance(line, Handed)}
        promised: dict[str, int] = defaultdict(int)
        for line in handed.values():
            promised[line.origin] = max(promised[line.origin], line.promised(durability))
        for end in (line for line in lines if isinstance(line, Ends)):
            promised[end.origin] = max(promised[end.origin], end.promised)
        known = [line for line in lines if isinstance(line, Known)]
        letters = set(drained.letters)
        return cls(primary, committed, handed, known, promised, letters, copies or {})

    def has_letter(self, replica: str, k: int) -> bool:
        handed = self.handed.get(k)
        return handed is not None and (replica, handed.origin, handed.seq) in self.letters
