"""Chooses states by a seed, and writes them to folders."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from powerloss.disk import Disk, How, Image, hows
from powerloss.trace import Event

Lost = Literal["app", "replica", "both"]
LOG_HEADER = 32
TRIES = 4
"""How often another state is drawn at a point where one was there already."""


@dataclass(frozen=True)
class State:
    """Both machines after a power failure of one or both; the other's processes were killed."""

    point: int
    lost: Lost
    app: Image
    replica: Image
    told: list[dict[str, Any]]
    """What the application had been told until then."""

    def key(self) -> bytes:
        """Equal for equal files and equal promises."""
        digest = hashlib.sha256(f"{len(self.told)}".encode())
        for image in (self.app, self.replica):
            for path, data in image.items():
                digest.update(f"\0{path}\0{data is None}".encode() + (data or b""))
        return digest.digest()

    def write(self, folder: Path, chance: random.Random) -> None:
        """Make the two machines' folders."""
        for name, image in (("a", self.app), ("b", self.replica)):
            (folder / name).mkdir(parents=True)
            for path, data in image.items():
                place = folder / name / path
                if data is None:
                    place.mkdir()
                    continue
                place.write_bytes(data)
                if path.endswith("-wal") and chance.random() < 0.3:
                    shm = place.with_name(place.name.removesuffix("-wal") + "-shm")
                    shm.write_bytes(chance.randbytes(32_768))


def points(events: Sequence[Event]) -> list[int]:
    """After which events the power may fail: all that changed something, once all is set up."""
    begin = next(i for i, event in enumerate(events) if event.kind == "told")
    changed = (i for i, event in enumerate(events) if event.kind not in {"told", "begin"})
    return [i for i in changed if i > begin]


NEAR = 25
"""How many events from one another things are near."""


def resets(events: Sequence[Event]) -> list[int]:
    """Where a write-ahead log that had not been emptied is begun anew: all in it was checkpointed,
    and the next commit overwrites it."""
    found: list[int] = []
    lengths: Counter[str] = Counter()
    for number, event in enumerate(events):
        if not event.path.endswith("-wal"):
            continue
        if event.kind == "write":
            if event.at == 0 and lengths[event.path] > LOG_HEADER:
                found.append(number)
            lengths[event.path] = max(lengths[event.path], event.at + len(event.data))
        elif event.kind == "length":
            lengths[event.path] = event.at
        elif event.kind == "unlink":
            lengths[event.path] = 0
    return found


def near_resets(events: Sequence[Event]) -> list[int]:
    """The points around those, and around the copying before them."""
    logs = {number: events[number].path.removesuffix("-wal") for number in resets(events)}
    ends = list(logs.items())
    near: set[int] = set()
    for number, event in enumerate(events):
        copies = event.kind == "write" and any(
            event.path == path and number < end for end, path in ends
        )
        if copies or number in logs:
            near.update(range(number - NEAR, number + NEAR))
    return [number for number in points(events) if number in near]


def states(
    events: Sequence[Event], root: str, count: int, seed: int, where: Sequence[int] | None = None
) -> Iterator[State]:
    """So many different states, in the order of their points, as far as there are so many; at the
    points `where`, if given."""
    chance = random.Random(seed)
    wanted = Counter(chance.choices(points(events) if where is None else where, k=count))
    app, replica = Disk(f"{root}/a"), Disk(f"{root}/b")
    told: list[dict[str, Any]] = []
    seen: set[bytes] = set()
    for number, event in enumerate(events):
        if event.kind == "told":
            told.append(json.loads(event.data))
            continue
        app.happens(event)
        replica.happens(event)
        for _ in range(wanted[number] * TRIES):
            if not wanted[number]:
                break
            state = _draw(number, app, replica, told, chance)
            if state.key() not in seen:
                seen.add(state.key())
                wanted[number] -= 1
                yield state


def _draw(
    point: int, app: Disk, replica: Disk, told: list[dict[str, Any]], chance: random.Random
) -> State:
    lost: Lost = chance.choices(("app", "replica", "both"), (6, 2, 2))[0]
    whole = How(chance, 4096, 1.0, 1.0, 1.0)
    images = [
        disk.image(whole if lost == other else hows(chance, disk.moment))
        for disk, other in ((app, "replica"), (replica, "app"))
    ]
    return State(point, lost, images[0], images[1], list(told))
