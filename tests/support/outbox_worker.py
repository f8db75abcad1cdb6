"""A process that writes through an outbox until it is killed: `outbox_worker.py DB NUMBER`."""

from __future__ import annotations

import random
import sqlite3
import sys
from itertools import count
from typing import Any, cast

import afterquery.sqlite3
from afterquery import Replicator
from support.recorder import Recorder

CHAIN = "UPDATE chain SET h = (h * 31 + ?) % 1000003"
FACT = "INSERT INTO facts (worker, n, h) VALUES (?, ?, (SELECT h FROM chain)) RETURNING id"


def step(db: sqlite3.Connection, worker: int, n: int, chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        db.execute(CHAIN, (n,))
        return
    if kind == 1:
        db.execute(FACT, (worker, n))
        return
    db.execute("BEGIN IMMEDIATE")
    db.execute(CHAIN, (n,))
    db.execute("SAVEPOINT s")
    db.execute(FACT, (worker, n)).fetchall()
    if chance.randrange(3) == 0:
        db.execute("ROLLBACK TO s")
    db.executemany("INSERT INTO facts (worker, n) VALUES (?, ?)", [(worker, n)] * 2)
    db.execute("ROLLBACK" if chance.randrange(4) == 0 else "COMMIT")


def main() -> None:
    path, number = sys.argv[1], int(sys.argv[2])
    replicator = cast("Replicator", Recorder())
    settings: dict[str, Any] = {"isolation_level": None, "timeout": 60}
    db = afterquery.sqlite3.connect(path, replicator=replicator, outbox=True, **settings)
    chance = random.Random()
    for n in count():
        step(db, number, n, chance)


if __name__ == "__main__":
    main()
