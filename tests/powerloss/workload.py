"""What is recorded: `python -m powerloss.workload NAME FOLDER SETTINGS`, as JSON.

The application lives in FOLDER/a, the peer in FOLDER/b. What the application was told is in
FOLDER/told, one line of JSON for each thing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import afterquery.sqlite3
from afterquery import Replica, Replication, Replicator
from afterquery.outbox import Relay
from chaos.drain import wait
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

NAME = "replica"
SCHEMA = "CREATE TABLE log (n INTEGER PRIMARY KEY, k INT, step INT, v)"
LOG = "INSERT INTO log (k, step, v) VALUES (?, ?, ?)"
LATER = "INSERT INTO later (k) VALUES (?)"
"""Into a table that the replica does not have at first."""
MAKE_LATER = "CREATE TABLE later (n INTEGER PRIMARY KEY, k INT)"
STRIDE = 10_000
"""The numbers of a thread's writes begin at a multiple of it."""
PATIENT: dict[str, Any] = {"auth_token": ADMIN_TOKEN, "retry_base": 0.01, "retry_max": 0.05}


@dataclass(frozen=True)
class Settings:
    """What makes one scenario differ from another."""

    durability: str = "disk"
    """Of the journal."""
    sync: bool = False
    """Only what `sync()` said True to is told."""
    mode: str = "WAL"
    """The outbox database's journal mode."""
    synchronous: str = "FULL"
    writes: int = 12
    """Of each thread in each phase."""
    large: int = 20_000
    """The bytes of a large value."""

    def encode(self) -> str:
        return json.dumps(asdict(self))


def steps(k: int) -> int:
    """How many statements write `k` has."""
    return 3 if k % 5 == 2 else 1


def is_rejected(k: int) -> bool:
    """Whether the replica has no table for it at first."""
    return k % 6 == 3


def value(k: int, settings: Settings) -> Any:
    if k % 4 == 0:
        return bytes(range(256)) * (settings.large // 256) if k % 8 else "é'" * settings.large
    return k


class World:
    """What the scenarios share."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.app = folder / "a"
        self.settings = settings
        self.peer = PeerProcess(folder / "b")
        self._told = os.open(folder / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, **what: Any) -> None:
        """From here on it is a promise."""
        os.write(self._told, json.dumps(what).encode() + b"\n")

    def threads(self, run: Callable[[Iterable[int]], None], phase: int, count: int) -> None:
        """Run it in threads, with the numbers that are theirs."""
        writes = self.settings.writes
        ranges = [
            range(t * STRIDE + phase * writes, t * STRIDE + (phase + 1) * writes)
            for t in range(count)
        ]
        threads = [threading.Thread(target=run, args=(one,)) for one in ranges]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def journal(world: World) -> None:
    """Deliver; gather with the replica down; start anew and deliver both; replay what failed."""
    world.peer.start()
    world.peer.client().run(SCHEMA)
    world.tell(begin=True)
    for phase in range(3):
        if phase == 1:
            world.peer.kill()
        replicator = open_replicator(world.app, world.peer.url, world.settings)
        world.threads(lambda ks, to=replicator: _hand_over(world, to, ks), phase, 3)  # type: ignore[misc]
        if phase == 1:
            replicator.close(0)
            world.peer.start()
        elif phase == 0:
            assert wait(replicator)
            assert replicator.close(20)
    assert wait(replicator)
    world.peer.client().run(MAKE_LATER)
    world.tell(later=True)
    while letters := replicator.dead_letters():
        replicator.replay(letters[:3])
        world.tell(replayed=True)
    assert wait(replicator)
    assert replicator.close(20)


def open_replicator(app: Path, url: str, settings: Settings) -> Replicator:
    # In a directory that is not there: its name must last as what is in it does.
    return Replicator(
        [Replica(url, name=NAME)],
        journal=app / "var" / "journal",
        durability=settings.durability,  # type: ignore[arg-type]
        **PATIENT,
    )


def _hand_over(world: World, replicator: Replicator, ks: Iterable[int]) -> None:
    unsynced: list[int] = []
    for k in ks:
        replication = _submit(world.settings, replicator, k)
        if not world.settings.sync:
            world.tell(k=k)
        else:
            unsynced.append(k)
            if k % 3 == 0 and replicator.sync():
                world.tell(ks=unsynced)
                unsynced = []
        if k % 4 == 1 and world.peer.running():
            (outcome,) = replication.wait(120)
            if outcome.status == "fulfilled":
                world.tell(on=k)


def _submit(settings: Settings, replicator: Replicator, k: int) -> Replication:
    if is_rejected(k):
        found = replicator.after_query(LATER, (k,), 1)
    elif steps(k) == 1:
        found = replicator.after_query(LOG, (k, 0, value(k, settings)), 1)
    else:
        with replicator.transaction() as transaction:
            for step in range(steps(k)):
                transaction.after_query(LOG, (k, step, value(k, settings)), 1)
        found = transaction.replication
    assert found is not None
    return found


def outbox(world: World) -> None:
    """Commit beside a relay; gather without one and without the replica; relay again."""
    path = world.app / "app.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode = {world.settings.mode}")
        database.execute(SCHEMA)
    connect(path, world.settings).close()
    world.peer.start()
    world.peer.client().run(SCHEMA)
    world.tell(begin=True)
    for phase in range(3):
        relay = Relay(path, [Replica(world.peer.url, name=NAME)], poll=0.02, lease=1, **PATIENT)
        if phase != 1:
            relay.start()
        world.threads(lambda ks: _commit(world, path, ks), phase, 2)
        # For about so long a relay that dies while it stops keeps the next one waiting.
        relay.stop(4)
        if phase == 0:
            world.peer.kill()
        elif phase == 1:
            world.peer.start()


def connect(path: Path, settings: Settings) -> Any:
    """The application's connection."""
    database = afterquery.sqlite3.connect(path, outbox=True, isolation_level=None, timeout=20)
    database.execute(f"PRAGMA synchronous = {settings.synchronous}")
    return database


def _commit(world: World, path: Path, ks: Iterable[int]) -> None:
    database = connect(path, world.settings)
    for k in ks:
        database.execute("BEGIN IMMEDIATE")
        for step in range(steps(k)):
            database.execute(LOG, (k, step, value(k, world.settings)))
        database.execute("ROLLBACK" if is_rejected(k) else "COMMIT")
        if not is_rejected(k):
            world.tell(k=k)
    database.close()


WORKLOADS: dict[str, Callable[[World], None]] = {"journal": journal, "outbox": outbox}

if __name__ == "__main__":
    name, folder, settings = sys.argv[1:]
    world = World(Path(folder), Settings(**json.loads(settings)))
    try:
        WORKLOADS[name](world)
    finally:
        world.peer.kill()
