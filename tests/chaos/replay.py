"""Replays dead letters until it is killed, while new writes go on.

`python -m chaos.replay SETTINGS LETTERS`: with a number of LETTERS, first makes that many, and ends
when they are settled; with none, replays. Prints `ready` when it begins.
"""

from __future__ import annotations

import json
import random
import sys

from afterquery import Replicator
from chaos.app import Settings
from chaos.work import COUNT, LANES

LATER = "INSERT INTO later (k) VALUES (?)"
"""Into a table that the replicas do not have at first."""

SCHEMA = """
CREATE TABLE later (n INTEGER PRIMARY KEY, k INT);
"""


def make(replicator: Replicator, letters: int) -> None:
    """Writes that every replica rejects, among others."""
    for k in range(letters):
        replicator.after_query(LATER, (k,), 1)
        replicator.after_query(COUNT, (k, k, 0, k % LANES), 1)
    if not replicator.flush(60):
        raise SystemExit("not settled")
    replicator.close(10)


def replay(replicator: Replicator, chance: random.Random) -> None:
    """A few letters at a time, in their order, until none is left."""
    while letters := replicator.dead_letters():
        replicator.replay(letters[: chance.randint(1, 12)])
        replicator.after_query(COUNT, (0, 0, 0, 0), 1)
    if not (replicator.flush(60) and replicator.close(10)):
        raise SystemExit("not settled")


if __name__ == "__main__":
    settings = Settings(**json.loads(sys.argv[1]))
    replicator = settings.replicator()
    print("ready", flush=True)
    if int(sys.argv[2]):
        make(replicator, int(sys.argv[2]))
    else:
        replay(replicator, random.Random(settings.seed))
