"""The application: threads that commit on the primary, hand over, and note what they are told.

`python -m chaos.app SETTINGS`, as JSON. It runs until it is killed.
"""

from __future__ import annotations

import json
import logging
import random
import signal
import sqlite3
import sys
import threading
from collections import deque
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from afterquery import Replica, Replication, Replicator
from chaos.commands import Commands
from chaos.told import Teller
from chaos.work import LANES, Kind, Spec, choose
from support.process import ADMIN_TOKEN

LOOK_SECONDS = 0.01
LOOK_AT = 300
"""How many of the oldest handles are looked at in each round."""


@dataclass(frozen=True)
class Settings:
    """What the controller tells the application."""

    folder: str
    journal: str
    urls: dict[str, str]
    durability: str
    seed: int
    run: int
    threads: int = 3
    ordered: bool = True
    """One lock around commit and `after_query`; else each thread keeps to a lane of its own."""
    origin: str | None = None
    """The name of the journal, which is then the same for all runs."""
    paused: bool = False
    """Whether it waits for the command before it writes."""

    def encode(self) -> str:
        return json.dumps(asdict(self))

    def replicator(self) -> Replicator:
        """With short times, so that much happens in a second."""
        return Replicator(
            [Replica(url, name=name) for name, url in self.urls.items()],
            auth_token=ADMIN_TOKEN,
            journal=self.journal,
            origin=self.origin,
            durability=self.durability,  # type: ignore[arg-type]
            connect_timeout=1.0,
            request_timeout=1.0,
            retry_base=0.01,
            retry_max=0.2,
        )


class Interrupted(BaseException):
    """What the application's handler of a signal raises."""


class Writer(threading.Thread):
    """One thread of the application."""

    def __init__(self, app: App, number: int) -> None:
        super().__init__()
        self.app = app
        self.lane = number
        self.chance = random.Random(f"{app.settings.seed} {app.settings.run} {number}")
        self.gate = threading.Lock()
        """Held while it writes: who else takes it has it wait."""
        path = Path(app.settings.folder) / "primary.db"
        # Made by one thread and used by another, which alone has it from then on.
        self.primary = sqlite3.connect(
            path, isolation_level=None, timeout=60, check_same_thread=False
        )
        self.primary.execute("PRAGMA synchronous = OFF")

    def run(self) -> None:
        while True:
            self.burst()

    def burst(self) -> None:
        """Some writes one after the other, and a pause."""
        with self.gate:
            for _ in range(self.chance.randint(1, 40)):
                with self.app.order:
                    self.write()
        self.app.pause(self.chance.uniform(0, 0.03))

    def clean(self) -> None:
        """After what was interrupted."""
        if self.primary.in_transaction:
            self.primary.execute("ROLLBACK")

    def write(self) -> None:
        kind, size = choose(self.chance)
        lane = self.chance.randrange(LANES) if self.app.settings.ordered else self.lane
        self.commit(kind, size, lane)

    def commit(self, kind: Kind, size: int, lane: int) -> Replication:
        self.primary.execute("BEGIN IMMEDIATE")
        cursor = self.primary.execute(
            "INSERT INTO commits (run, lane, kind, size) VALUES (?, ?, ?, ?)",
            (self.app.settings.run, lane, kind, size),
        )
        assert cursor.lastrowid is not None
        spec = Spec(cursor.lastrowid, self.app.settings.run, lane, kind, size)
        results = [self.primary.execute(*statement) for statement in spec.statements()]
        self.primary.execute("COMMIT")
        return self.app.hand_over(spec, results)


class App:
    """The application's replicator, and what its threads share."""

    def __init__(self, settings: Settings, replicator: Replicator | None = None) -> None:
        self.settings = settings
        self.order = threading.Lock() if settings.ordered else nullcontext()
        self.teller = Teller(Path(settings.folder) / "told.jsonl")
        self.replicator = replicator or settings.replicator()
        self.never = threading.Event()
        self.may_interrupt = False
        self.open: deque[tuple[int, Replication, set[str]]] = deque()

    def pause(self, seconds: float) -> None:
        # Not time.sleep: it fails with EINVAL where the clock is libfaketime's.
        self.never.wait(seconds)

    def hand_over(self, spec: Spec, results: list[sqlite3.Cursor]) -> Replication:
        replication = self._submit(spec, results)
        assert replication is not None
        self.teller.handed(spec.k, replication, self.replicator.stats())
        self.open.append((spec.k, replication, set()))
        return replication

    def _submit(self, spec: Spec, results: list[sqlite3.Cursor]) -> Replication | None:
        statements = spec.statements()
        if spec.kind == "many":
            rows = [params for _, params in statements]
            return self.replicator.after_query(statements[0][0], rows, len(rows), many=True)
        if len(statements) == 1:
            return self.replicator.after_query(*statements[0], results[0])
        with self.replicator.transaction() as transaction:
            for (sql, params), result in zip(statements, results, strict=True):
                transaction.after_query(sql, params, result)
        return transaction.replication

    def run(self) -> None:
        """The main thread writes, too: it is the one that signals interrupt."""
        writers = [Writer(self, number) for number in range(self.settings.threads)]
        signal.signal(signal.SIGUSR1, self._interrupt)
        commands = Commands(self.settings, self.replicator, [writer.gate for writer in writers])
        if self.settings.paused:
            commands.pause()
        print("ready", flush=True)
        commands.start()
        for writer in writers[1:]:
            writer.start()
        while True:
            try:
                self.may_interrupt = True
                writers[0].burst()
                self.look()
                self.pause(LOOK_SECONDS)
            except Interrupted:
                writers[0].clean()

    def _interrupt(self, *_: object) -> None:
        # Not a second time before the first one has been dealt with.
        if self.may_interrupt:
            self.may_interrupt = False
            raise Interrupted

    def look(self) -> None:
        """Note the outcomes that have come."""
        for k, replication, noted in [self.open[i] for i in range(min(LOOK_AT, len(self.open)))]:
            for outcome in replication.outcomes:
                if outcome.replica not in noted:
                    noted.add(outcome.replica)
                    self.teller.known(k, outcome)
        while self.open and len(self.open[0][2]) == len(self.settings.urls):
            self.open.popleft()


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    App(Settings(**json.loads(sys.argv[1]))).run()
