"""The clean process at the end: delivers what the dead left, and says how it went.

`python -m chaos.drain SETTINGS`, as JSON. Prints a `Drained` as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import asdict, dataclass

from afterquery import ReplicaStats, Replicator
from chaos.app import Settings

DRAIN_SECONDS = 60.0
MOST_SECONDS = 900.0
STOPPED = ("halted", "detached", "diverged")


@dataclass(frozen=True)
class Drained:
    """What the clean process saw."""

    flushed: bool
    closed: bool
    letters: list[tuple[str, str, int]]
    """Replica, origin and seq of each dead letter."""
    states: dict[str, str]
    """The state of each replica before the close."""

    @classmethod
    def decode(cls, text: str) -> Drained:
        fields = json.loads(text)
        return cls(**{**fields, "letters": [tuple(letter) for letter in fields["letters"]]})


def wait(replicator: Replicator) -> bool:
    """Until every replica has everything or stopped for a reason. How long that takes depends on
    the machine; but something has to be settled within each `DRAIN_SECONDS`."""
    pause = threading.Event()
    least, deadline = sys.maxsize, 0.0
    while not all(map(_is_settled, replicas := replicator.stats().replicas)):
        pending = sum(replica.pending for replica in replicas)
        if pending < least:
            least, deadline = pending, time.monotonic() + DRAIN_SECONDS
        if time.monotonic() > deadline:
            return False
        pause.wait(0.01)
    stopped = any(replica.state in STOPPED for replica in replicator.stats().replicas)
    return replicator.flush(0.0 if stopped else DRAIN_SECONDS)


def _is_settled(replica: ReplicaStats) -> bool:
    # Live, and not only without anything pending: it takes an answer to see that one has diverged.
    return replica.state in STOPPED or (replica.state == "live" and replica.pending == 0)


def drain(settings: Settings) -> Drained:
    replicator = settings.replicator()
    flushed = wait(replicator)
    letters = [(letter.replica, letter.origin, letter.seq) for letter in replicator.dead_letters()]
    states: dict[str, str] = {
        replica.name: replica.state for replica in replicator.stats().replicas
    }
    replicator.discard()
    return Drained(flushed, replicator.close(10 if flushed else 0), letters, states)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    print(json.dumps(asdict(drain(Settings(**json.loads(sys.argv[1]))))))
