"""Writes of which none may be lost, run twice or run out of order without leaving a trace."""

from __future__ import annotations

import random

from afterquery import Replication, Replicator
from replication.world import TIMEOUT, Primary, of, until

SCHEMA = """
CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
INSERT INTO counter VALUES (0, 0), (1, 0), (2, 0), (3, 0);
CREATE TABLE chain (h INTEGER NOT NULL);
INSERT INTO chain VALUES (1);
CREATE TABLE log (n INTEGER PRIMARY KEY AUTOINCREMENT, k INTEGER NOT NULL, v TEXT);
"""

COUNT = "UPDATE counter SET n = n + 1 WHERE id = ?"
CHAIN = "UPDATE chain SET h = (h * 31 + ?) % 1000003"
LOG = "INSERT INTO log (k, v) VALUES (:k, :v)"


class Load:
    """Runs writes on the primary and tells the replicator, with its seed fixed."""

    def __init__(self, primary: Primary, replicator: Replicator, seed: int) -> None:
        print(f"seed {seed}")
        self.primary = primary
        self.replicator = replicator
        self.chance = random.Random(seed)
        self.replications: list[Replication] = []

    def write(self) -> None:
        """One write: of one statement, of many rows, or of a transaction."""
        number = len(self.replications)
        kind = self.chance.randrange(10)
        if kind == 0:
            self._transaction(number)
        elif kind == 1:
            self._run(COUNT, [(n % 4,) for n in range(number % 5 + 1)], many=True)
        elif kind < 5:
            self._run(LOG, {"k": number, "v": "é'☃" * self.chance.randrange(5)})
        elif kind < 8:
            self._run(CHAIN, (number,))
        else:
            self._run(COUNT, (number % 4,))

    def write_many(self, count: int, *, window: int = 20) -> None:
        """Keep the load steady: never more than `window` writes under way."""
        for _ in range(count):
            self.write()
            self.calm(window)

    def calm(self, window: int) -> None:
        until(lambda: self.replicator.stats().pending < window, "the replicas have caught up")

    def settle(self) -> None:
        """Everything must have arrived, everywhere, and changed as much as on the primary."""
        assert self.replicator.flush(TIMEOUT), self.replicator.stats().replicas
        names = set(self.replicator.replicas)
        for replication in self.replications:
            outcomes = replication.wait(0)
            assert {outcome.replica for outcome in outcomes} == names
            wrong = [o for o in outcomes if o.status != "fulfilled" or o.reason is not None]
            assert not wrong, (replication.seq, wrong)
        for name in names:
            stats = of(self.replicator, name)
            assert (stats.pending, stats.rejected, stats.diverged) == (0, 0, False), stats
            assert stats.fulfilled == stats.acknowledged == len(self.replications)

    def _run(self, sql: str, params: object, *, many: bool = False) -> None:
        result = self.primary.run(sql, params, many=many)
        replication = self.replicator.after_query(sql, params, result, many=many)
        assert replication is not None
        self.replications.append(replication)

    def _transaction(self, number: int) -> None:
        statements = [(COUNT, (number % 4,)), (LOG, {"k": number, "v": None}), (CHAIN, (number,))]
        with self.replicator.transaction() as transaction:
            for sql, params in statements:
                transaction.after_query(sql, params, self.primary.run(sql, params))
        assert transaction.replication is not None
        self.replications.append(transaction.replication)
