"""What a relay has begun to hand over, kept beside the journal.

The database may be restored from a backup, or be a copy: ids are then given again to other
transactions, and the journal, which knows ids only, would take them for what it has. So the last
row that is handed over is noted here, with its random mark, on the disk, before it is. While the
database is the same, every id up to the noted one was given, no later one was deleted, and the
noted row bears its mark or is gone with all before it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from afterquery.outbox._table import Extent

_NAME = "outbox.json"


@dataclass(frozen=True)
class Record:
    """The last row that may be in the journal."""

    origin: str
    through: int
    """Its id."""
    mark: str
    """In hexadecimal digits."""
    settled: bool = False
    """All up to it is on the replicas, and the journal may be removed."""


def read(journal: Path) -> Record | None:
    """The record in the directory `journal`; None where there is none. Raises `OSError`, and
    ValueError for a file that is not ours."""
    try:
        text = (journal / _NAME).read_text()
    except FileNotFoundError:
        return None
    try:
        return Record(**json.loads(text))
    except TypeError as error:
        raise ValueError(f"{journal / _NAME} is not a relay's: {error}") from error


def write(journal: Path, record: Record) -> None:
    """Keep it, whatever happens to the machine from now on. Raises `OSError`."""
    new = journal / f"{_NAME}.new"
    with new.open("w") as file:
        json.dump(asdict(record), file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(journal / _NAME)
    directory = os.open(journal, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def difference(extent: Extent, record: Record | None, mark: bytes | None) -> str | None:
    """Why this outbox is not the one that the record is of; None where it is.

    `mark` is that of the row whose id is noted, None where there is no such row.
    """
    if record is None:
        if extent.deleted > extent.base:
            return f"{extent.deleted} transactions were relayed, and no journal knows of them"
        return None
    if extent.last < record.through:
        return f"transaction {record.through} was relayed, and the last one is {extent.last}"
    if mark is not None and mark.hex() != record.mark:
        return f"transaction {record.through} is not the one that was relayed under this number"
    if extent.deleted > record.through:
        return f"another journal has transactions {record.through + 1} to {extent.deleted}"
    if mark is None and extent.deleted < record.through:
        return f"transaction {record.through} was taken out of the outbox"
    if extent.origin != record.origin and not (record.settled and extent.base == record.through):
        return f"it goes on from {record.origin}, whose writes may not all have arrived"
    return None
