"""How a statement travels, and why: one and the same words for the log, `explain` and `lint`."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from afterquery._mixed._insert import Numbered
from afterquery._mixed._table import Table


class Kind(enum.Enum):
    """How a statement travels."""

    OTHERS = "not at all: it is not about the main database"
    STATEMENT = "as a statement"
    NUMBERED = "as a statement that names the ids which SQLite drew"
    ROW = "as the row that it inserted"
    ROWS = "as the rows that it changed"
    SCHEMA = "as a change of the schema"
    LOST = "not at all: it cannot"


@dataclass(frozen=True)
class Verdict:
    """How a statement travels."""

    kind: Kind
    reason: str
    """Why not otherwise: a clause about the statement."""
    sql: str = ""
    """Its text for a replica."""
    tables: tuple[Table, ...] = ()
    """Those whose rows it changes, as far as they are captured; the one that it inserts into."""
    events: frozenset[tuple[str, str]] = frozenset()
    """What happens to which table: `INSERT`, `UPDATE` or `DELETE`."""
    replaces: bool = False
    """Rows may go without any trigger that sees it."""
    keeps: bool = False
    """Where it fails, it may keep what it did before."""
    numbered: Numbered | None = None
    ids: tuple[str | int, ...] = ()
    """Parameters that are ids: where one is None, SQLite draws it, and `otherwise` holds."""
    otherwise: Verdict | None = None
    may_skip: bool = False
    """It may insert nothing and succeed."""
    lost: str = ""
    """What of it does not travel, or may do something else there."""
    views: tuple[str, ...] = ()
    """Those of the main database, which a replica would look into while a table is altered."""
    filled: str = ""
    """The table that it makes and fills, which travels whole."""

    def __str__(self) -> str:
        return f"travels {self.kind.value}{f': it {self.reason}' if self.reason else ''}"
