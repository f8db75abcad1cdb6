"""A primary with one table, its replicas, and an integration reduced to what counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from afterquery import Replicator, _scope
from replication.world import TIMEOUT, Primary, assert_same, connect, counted, peers, prepare
from support.peer import PeerProcess

SCHEMA = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"
INSERT = "INSERT INTO items (name) VALUES (?)"
NAMES = "SELECT name FROM items ORDER BY id"


class Items:
    """Transactions on the primary, each handed over once it is committed."""

    def __init__(self, primary: Primary, replicas: Sequence[PeerProcess]) -> None:
        self.primary = primary
        self.replicas = replicas
        self.replicator: Replicator
        self._lock = threading.Lock()

    def add(self, *names: str) -> None:
        """One transaction that adds `names`."""
        with self._lock:
            transaction = self.replicator.transaction()
            self.primary.run("BEGIN")
            for name in names:
                transaction.after_query(INSERT, (name,), self.primary.run(INSERT, (name,)))
            self.primary.run("COMMIT")
            _scope.submit(self.replicator, transaction)

    def names(self) -> list[str]:
        return [name for (name,) in self.primary.rows(NAMES)]

    def replicated(self) -> list[str]:
        """What the replicas have, which is the same on all."""
        assert self.replicator.flush(TIMEOUT)
        first, *others = [process.client().rows(NAMES) for process in self.replicas]
        assert all(other == first for other in others)
        return [name for (name,) in first]

    def same(self) -> None:
        assert self.replicator.flush(TIMEOUT)
        assert_same(self.primary, *self.replicas)

    def dropped(self) -> int:
        return counted(self.replicator.stats().skipped).get("dropped", 0)

    @contextmanager
    def fresh(self) -> Iterator[Items]:
        """Nothing in the table, nothing submitted."""
        prepare("DELETE FROM items", *self.replicas)
        self.primary.run("DELETE FROM items")
        with connect(*self.replicas) as self.replicator:
            yield self


@contextmanager
def items(folder: Path) -> Iterator[Items]:
    """With two peers."""
    with Primary(folder / "p.db", SCHEMA) as primary, peers(folder, 2) as replicas:
        prepare(SCHEMA, *replicas)
        yield Items(primary, replicas)
