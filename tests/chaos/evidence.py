"""What the application did and was told, gathered after its end."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from chaos import told
from chaos.drain import Drained
from chaos.told import Handed, Known
from chaos.work import Spec, specs


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

    @classmethod
    def gather(cls, folder: Path, durability: str, drained: Drained) -> Evidence:
        primary = folder / "primary.db"
        with closing(sqlite3.connect(primary)) as connection:
            committed = specs(connection)
        lines = list(told.read(folder / "told.jsonl"))
        handed = {line.k: line for line in lines if isinstance(line, Handed)}
        promised: dict[str, int] = defaultdict(int)
        for line in handed.values():
            promised[line.origin] = max(promised[line.origin], line.promised(durability))
        known = [line for line in lines if isinstance(line, Known)]
        return cls(primary, committed, handed, known, promised, set(drained.letters))

    def has_letter(self, replica: str, k: int) -> bool:
        handed = self.handed.get(k)
        return handed is not None and (replica, handed.origin, handed.seq) in self.letters
