"""Ways in which the files of a dead process's journal can be damaged."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

TAIL_BYTES = 20_000
FLIPS = 12

Damage = Callable[[Path, random.Random], None]


def log_of(journal: Path) -> Path:
    """SQLite's write-ahead log: what was written last."""
    return journal.with_name(journal.name + "-wal")


def log_cut(journal: Path, chance: random.Random) -> None:
    """The log lacks its end."""
    size = log_of(journal).stat().st_size
    _truncate(log_of(journal), max(0, size - chance.randint(1, TAIL_BYTES)))


def log_emptied(journal: Path, _: random.Random) -> None:
    _truncate(log_of(journal), 0)


def log_removed(journal: Path, _: random.Random) -> None:
    log_of(journal).unlink()


def log_end_zeroed(journal: Path, chance: random.Random) -> None:
    """As a file system may leave it after a power cut."""
    size = log_of(journal).stat().st_size
    length = min(size, chance.randint(1, TAIL_BYTES))
    _overwrite(log_of(journal), size - length, bytes(length))


def log_end_flipped(journal: Path, chance: random.Random) -> None:
    _flip(log_of(journal), chance, TAIL_BYTES)


def log_flipped(journal: Path, chance: random.Random) -> None:
    _flip(log_of(journal), chance)


def main_flipped(journal: Path, chance: random.Random) -> None:
    _checkpoint(journal)
    _flip(journal, chance)


def main_cut(journal: Path, chance: random.Random) -> None:
    _checkpoint(journal)
    _truncate(journal, chance.randint(0, journal.stat().st_size - 1))


def main_end_zeroed(journal: Path, chance: random.Random) -> None:
    _checkpoint(journal)
    size = journal.stat().st_size
    length = min(size, chance.randint(1, TAIL_BYTES))
    _overwrite(journal, size - length, bytes(length))


def main_replaced(journal: Path, chance: random.Random) -> None:
    """By something else altogether."""
    journal.write_bytes(chance.randbytes(journal.stat().st_size))
    log_of(journal).unlink()


DAMAGES: tuple[Damage, ...] = (
    log_cut,
    log_emptied,
    log_removed,
    log_end_zeroed,
    log_end_flipped,
    log_flipped,
    main_flipped,
    main_cut,
    main_end_zeroed,
    main_replaced,
)


def _checkpoint(journal: Path) -> None:
    """Move everything from the log to the main file, as SQLite does from time to time."""
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def _overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def _flip(path: Path, chance: random.Random, last: int | None = None) -> None:
    """Change single bits somewhere in the last so many bytes."""
    content = bytearray(path.read_bytes())
    first = 0 if last is None else max(0, len(content) - last)
    for _ in range(FLIPS):
        content[chance.randrange(first, len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
