"""One run of a seed, and many of them: `python -m mixed.run FROM COUNT` in `tests`."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from afterquery._mixed import Kind, Mixed
from mixed.schemas import random_schema
from mixed.statements import Statement, Statements
from mixed.world import Bare, Primary, Replica, Sent, content, rng_of, rowids_of, seen


class Ours(Protocol):
    """The primary."""

    @property
    def db(self) -> sqlite3.Connection: ...

    @property
    def mixed(self) -> Mixed: ...

    @property
    def kinds(self) -> Mapping[Kind, int]: ...

    def execute(self, sql: str, parameters: tuple[Any, ...] = ...) -> Any: ...

    def settle(self) -> None: ...

    @property
    def committed(self) -> list[Sent]: ...

    @property
    def savepoints(self) -> list[str]: ...

    @property
    def doubts(self) -> list[str]: ...


class DiffersError(AssertionError):
    """Something was not as it should be."""


class Run:
    """A seed: statements on all sides, compared after each transaction."""

    def __init__(self, seed: int, ours: Ours | None = None, bare: Bare | None = None) -> None:
        self.seed = seed
        self.rng = rng_of(seed)
        self.wild = self.rng.random() < 0.5
        """Chance has a part in it: only the replica has to be equal, not the bare connection."""
        self.ours: Ours = Primary() if ours is None else ours
        self.bare = Bare() if bare is None else bare
        ddl = self.rng.random() < 0.3
        self.schema = random_schema(self.rng, wild=self.wild)
        self.schema.texts = [text for text in self.schema.texts if self._made(text)]
        assert self.ours.committed is not None  # the replica is made with the schema
        self.replica = Replica(self.schema)
        self.statements = Statements(self.rng, self.schema, wild=self.wild, ddl=ddl)
        self.history: list[Statement] = []
        self.counts: Counter[str] = Counter()

    def _made(self, text: str) -> bool:
        try:
            self.bare.db.execute(text)
        except sqlite3.Error:
            return False
        self.ours.db.execute(text)
        return True

    def go(self, length: int) -> Counter[str]:
        """Run so many statements."""
        if self.seed % 3:
            for side in (self.ours, self.bare):
                side.execute("PRAGMA foreign_keys = ON")
        for _ in range(length):
            if not self._step(*self._next()):
                break
        if self.ours.db.in_transaction:
            self.ours.execute("ROLLBACK")
            self._compare()
        if self.ours.doubts:
            self._fail("\n".join(self.ours.doubts))
        for kind, count in self.ours.kinds.items():
            self.counts[kind.name] += count
        return self.counts

    def close(self) -> None:
        for side in (self.ours, self.bare, self.replica):
            side.db.close()

    def _next(self) -> Statement:
        rng = self.rng
        if rng.random() < 0.2:
            return self._control(), ()
        if rng.random() < 0.03:
            name = rng.choice(["foreign_keys", "recursive_triggers"])
            return f"PRAGMA {name} = {rng.randrange(2)}", ()
        return self.statements.draw()

    def _control(self) -> str:
        inside = self.ours.db.in_transaction
        choices = ["COMMIT", "COMMIT", "ROLLBACK"] if inside else ["BEGIN"]
        choices += ["SAVEPOINT a", "SAVEPOINT b"]
        names = self.ours.savepoints
        if names:
            name = self.rng.choice(names)
            choices += [f"ROLLBACK TO {name}", f"RELEASE {name}"]
        return self.rng.choice(choices)

    def _step(self, sql: str, given: tuple[Any, ...]) -> bool:
        """Whether the run can go on."""
        self.history.append((sql, given))
        self.counts["statements"] += 1
        one, two = seen(self.ours, sql, given), seen(self.bare, sql, given)
        if not self.wild:
            if self._is_known(sql, one, two):
                self.counts["known"] += 1
                return False
            self._same("seen", one, two)
            self._same("rows", content(self.ours.db), content(self.bare.db))
        if self.ours.db.in_transaction != self.bare.db.in_transaction:
            for side in (self.ours, self.bare):  # chance made one of them fail
                if side.db.in_transaction:
                    side.execute("ROLLBACK")
        if not self.ours.db.in_transaction:
            self.ours.settle()
            self._apply()
            self._compare()
        return True

    def _is_known(self, sql: str, one: object, two: object) -> bool:
        """What SQLite does differently where a trigger is."""
        said = f"{one}{two}"
        if re.search("cannot store|mismatch|too many levels", said):
            return True  # it leaves the rows before that one, and sees others of its faults first
        if sql.startswith("UPDATE") and one != two and "UNIQUE constraint" in said:
            return True  # with a trigger it reads more columns, and may visit the rows otherwise
        texts = [*self.schema.texts, *(text for text, _ in self.history)]
        replaces = "REPLACE" in " ".join(texts)
        # It overlooks foreign keys, mostly such that are broken then.
        return replaces and "FOREIGN KEY" in said and one != two

    def _apply(self) -> None:
        sent = self.ours.committed
        self.counts["sent"] += len(sent)
        for one in sent:
            try:
                self.replica.apply(one)
            except sqlite3.Error as error:
                self._fail(f"on the replica: {error}\n{one}")

    def _compare(self) -> None:
        rowids = rowids_of(self.ours.mixed)
        here, there = content(self.ours.db, rowids), content(self.replica.db, rowids)
        self._same("replica", here, there)

    def _same(self, what: str, one: object, two: object) -> None:
        if one != two:
            self._fail(f"{what}:\n{one}\n{two}")

    def _fail(self, what: str) -> None:
        last = "\n".join(f"{sql} {given}" for sql, given in self.history[-8:])
        schema = "\n".join(self.schema.texts)
        raise DiffersError(f"seed {self.seed}\n{schema}\n…\n{last}\n{what}") from None


def run(seed: int, length: int = 60) -> Counter[str]:
    """Run a seed; raises `DiffersError`."""
    one = Run(seed)
    try:
        return one.go(length)
    finally:
        one.close()


def main() -> None:
    first, count = int(sys.argv[1]), int(sys.argv[2])
    total: Counter[str] = Counter()
    began, failed = time.monotonic(), 0
    for seed in range(first, first + count):
        try:
            total += run(seed)
        except DiffersError as error:
            failed += 1
            print(error, "=" * 80, sep="\n", flush=True)
            if failed == 3:
                break
    print(dict(total), f"{failed} failed, {time.monotonic() - began:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
