"""What an open transaction will write into the outbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from afterquery._core import classify
from afterquery.outbox._values import Statement, kept

_CACHED_CHARACTERS = 16_384
"""Longer texts are seldom seen twice, and would fill the memory."""

_WRITES = frozenset({"write", "ddl", "unknown"})


@dataclass
class Gathered:
    """In the place of an `afterquery.Transaction`: statements for the row."""

    statements: list[Statement] = field(default_factory=list)

    def after_query(
        self, sql: str, params: Any = None, result: Any = None, *, many: bool = False
    ) -> None:
        changes = result if isinstance(result, int) else getattr(result, "rowcount", -1)
        if _concerns_replicas(sql):
            known = changes if changes >= 0 else None
            self.statements.append(kept(sql, params, known, many=many))

    def savepoint(self) -> int:
        return len(self.statements)

    def rollback_to(self, savepoint: int) -> None:
        del self.statements[savepoint:]

    def rollback(self) -> None:
        self.statements.clear()

    def __len__(self) -> int:
        return len(self.statements)

    def __bool__(self) -> bool:
        return True


def _concerns_replicas(sql: str) -> bool:
    """It may write, and not only to the temporary schema or an attached database."""
    return _read(sql) if len(sql) > _CACHED_CHARACTERS else _cached(sql)


def _read(sql: str) -> bool:
    found = classify(sql).statements
    writes = any(one.kind in _WRITES for one in found)
    return writes and not any(one.schema not in {None, "main"} for one in found)


_cached = lru_cache(maxsize=1_024)(_read)
