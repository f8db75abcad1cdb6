"""A disk with what is synced and what is not, and the states a power failure could leave of it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from powerloss.trace import Event

Image = dict[str, bytes | None]
"""The files of a state, by path; None is a directory."""


@dataclass(frozen=True)
class Change:
    """A write that was not synced, or with `data` None a new length."""

    at: int
    data: bytes | None
    moment: int

    def length(self, before: int) -> int:
        return self.at if self.data is None else max(before, self.at + len(self.data))


@dataclass
class File:
    """What is on the disk for certain, and what came later."""

    synced: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)
    gone: int = 0
    """How many changes were synced, since the file was made."""

    def lengths(self) -> list[int]:
        found = [len(self.synced)]
        for change in self.changes:
            found.append(change.length(found[-1]))
        return found

    def sync(self, through: int) -> None:
        """Make certain what came before the change of that number."""
        count = max(0, through - self.gone)
        for change in self.changes[:count]:
            length = change.length(len(self.synced))
            self.synced.extend(bytes(max(0, length - len(self.synced))))
            del self.synced[length:]
            if change.data is not None:
                self.synced[change.at : change.at + len(change.data)] = change.data
        del self.changes[:count]
        self.gone += count

    def content(self, version: Callable[[int], int], length: int, sector: int) -> bytes:
        """With each sector as it was after so many changes, and the length as after `length`."""
        size = self.lengths()[length]
        result = bytearray(self.synced[:size].ljust(size, b"\0"))
        for number, touching in sorted(self._touched(sector, size).items()):
            start, count = number * sector, version(number)
            for index in touching:
                if index < count:
                    _apply(result, self.changes[index], start, min(start + sector, size))
        return bytes(result)

    def _touched(self, sector: int, size: int) -> dict[int, list[int]]:
        """Which changes concern which sectors."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, change in enumerate(self.changes):
            end = size if change.data is None else min(size, change.at + len(change.data))
            for number in range(change.at // sector, -(-end // sector)):
                found[number].append(index)
        return found


def _apply(result: bytearray, change: Change, start: int, end: int) -> None:
    """What a change does to one sector."""
    low = max(start, change.at)
    if change.data is None:
        high, data = end, bytes(max(0, end - low))
    else:
        high = min(end, change.at + len(change.data))
        data = change.data[low - change.at : high - change.at]
    if low < high:
        result[low:high] = data


@dataclass(frozen=True)
class Entry:
    """A change of a directory: `name` becomes `inode`, or is gone; after a rename `old` is, too."""

    name: str
    inode: int | None
    moment: int
    old: str | None = None


@dataclass
class Folder:
    """The names in a directory."""

    synced: dict[str, int] = field(default_factory=dict)
    changes: list[Entry] = field(default_factory=list)
    gone: int = 0

    def names(self, chosen: Sequence[Entry] | None = None) -> dict[str, int]:
        found = dict(self.synced)
        for entry in self.changes if chosen is None else chosen:
            if entry.old is not None:
                found.pop(entry.old, None)
            if entry.inode is None:
                found.pop(entry.name, None)
            else:
                found[entry.name] = entry.inode
        return found

    def sync(self, through: int) -> None:
        count = max(0, through - self.gone)
        self.synced = self.names(self.changes[:count])
        del self.changes[:count]
        self.gone += count


class Disk:
    """One machine's disk, below the folder `root`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.inodes: list[File | Folder] = [Folder()]
        self.moment = 0
        self.syncs: dict[int, tuple[File | Folder, int]] = {}

    def happens(self, event: Event) -> bool:
        """Take in what happened. Whether it was something on this disk."""
        if event.path != self.root and not event.path.startswith(self.root + "/"):
            return False
        self.moment += 1
        match event.kind:
            case "create":
                self._create(event.path, File())
            case "mkdir":
                self._create(event.path, Folder())
            case "unlink":
                folder, name = self._place(event.path)
                folder.changes.append(Entry(name, None, self.moment))
            case "rename":
                folder, name = self._place(event.path)
                target, new = self._place(event.to)
                assert folder is target, "a rename into another directory is not modelled"
                folder.changes.append(Entry(new, folder.names()[name], self.moment, name))
            case "write" | "length":
                file = self._find(event.path)
                assert isinstance(file, File), event.path
                data = event.data if event.kind == "write" else None
                file.changes.append(Change(event.at, data, self.moment))
            case "begin":
                found = self._find(event.path)
                self.syncs[event.thread] = found, found.gone + len(found.changes)
            case "end":
                inode, mark = self.syncs.pop(event.thread)
                inode.sync(mark)
            case "told":
                return False
        return event.kind not in {"begin", "end"}

    def image(self, how: How) -> Image:
        """A state that the disk could have."""
        return dict(self._walk(0, "", how))

    def _walk(self, number: int, at: str, how: How) -> Iterator[tuple[str, bytes | None]]:
        folder = self.inodes[number]
        assert isinstance(folder, Folder)
        names = folder.names(how.entries(folder.changes))
        for name, inode in sorted(names.items()):
            path = f"{at}{name}"
            found = self.inodes[inode]
            if isinstance(found, File):
                yield path, how.content(inode, found)
            else:
                yield path, None
                yield from self._walk(inode, f"{path}/", how)

    def _create(self, path: str, made: File | Folder) -> None:
        folder, name = self._place(path)
        if name not in folder.names():
            self.inodes.append(made)
            folder.changes.append(Entry(name, len(self.inodes) - 1, self.moment))

    def _place(self, path: str) -> tuple[Folder, str]:
        pure = PurePosixPath(path)
        folder = self._find(str(pure.parent))
        assert isinstance(folder, Folder), path
        return folder, pure.name

    def _find(self, path: str) -> File | Folder:
        """By the names as the running system sees them."""
        found: File | Folder = self.inodes[0]
        for name in PurePosixPath(path).relative_to(self.root).parts:
            assert isinstance(found, Folder), path
            found = self.inodes[found.names()[name]]
        return found


@dataclass
class How:
    """How much of what was not synced is there."""

    chance: random.Random
    sector: int
    data: float
    """The share of sectors that are there, of the latest kind; others are as they were before."""
    length: float
    names: float
    until: int | None = None
    """All up to this moment is there, and nothing later: a disk that keeps the order."""
    odd: float = 0.0
    """The share of files that are all there where the others are not, or the reverse."""
    torn: bool = True
    """Whether sectors choose by themselves; else each file as a whole."""

    def entries(self, changes: list[Entry]) -> list[Entry]:
        if self.until is not None:
            return [change for change in changes if change.moment <= self.until]
        return [change for change in changes if self.chance.random() < self.names]

    def content(self, inode: int, file: File) -> bytes:
        count = len(file.changes)
        if self.until is not None:
            kept = sum(change.moment <= self.until for change in file.changes)
            return file.content(lambda _: kept, kept, self.sector)
        data, length = self.data, self.length
        if random.Random(f"{inode} {self.chance.random()}").random() < self.odd:
            data, length = 1 - data, 1 - length
        if not self.torn:
            one = self._version(count, data)
            return file.content(lambda _: one, one, self.sector)
        return file.content(
            lambda _: self._version(count, data), self._version(count, length), self.sector
        )

    def _version(self, count: int, share: float) -> int:
        if self.chance.random() < share:
            return count
        # What it held at some moment since the last sync, most often right after that.
        return 0 if self.chance.random() < 0.5 else self.chance.randint(0, count)


def hows(chance: random.Random, moment: int) -> How:
    """One of the ways in which a disk can fall behind, by chance."""
    kind = chance.randrange(9)
    sector = chance.choice([512, 4096])
    match kind:
        case 0:
            return How(chance, sector, 1.0, 1.0, 1.0)
        case 1:
            return Nothing(chance, sector, 0.0, 0.0, 0.0)
        case 2:
            return How(chance, sector, 1.0, 1.0, 1.0, until=moment - chance.randint(0, 40))
        case 3 | 4:
            share = chance.choice([0.1, 0.5, 0.9, 0.98])
            return How(chance, sector, share, chance.choice([0.2, 0.8, 1.0]), chance.random())
        case 5:
            return How(chance, sector, 1.0, 1.0, 1.0, odd=0.4)
        case 6:
            return How(chance, sector, 1.0, 1.0, 0.0)
        case 7:
            return Nothing(chance, sector, 0.0, 1.0, 1.0)
        case _:
            return How(chance, sector, 0.5, 0.5, 0.5, torn=False)


class Nothing(How):
    """Of what was not synced there is all or nothing, and no moment between."""

    def _version(self, count: int, share: float) -> int:
        return count if self.chance.random() < share else 0
