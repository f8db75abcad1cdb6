"""A relay at work: it hands transactions over to the journal, and deletes what is safe there."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterquery._binding import settled
from afterquery._core import Replica, Replicator
from afterquery._errors import JournalError
from afterquery.outbox import _record
from afterquery.outbox._record import Record
from afterquery.outbox._table import (
    Entry,
    Extent,
    delete_through,
    extent,
    mark,
    new_origin,
    pending,
)
from afterquery.outbox._values import Statement

_BATCH = 500
"""Transactions that are read at a time: one wait for the disk for all of them."""


class ForeignOutboxError(JournalError):
    """The outbox is not the one that the journal knows."""


@dataclass(frozen=True)
class Delivery:
    """Where to, and by way of which journal."""

    journal: Path
    replicas: Sequence[str | Replica]
    settings: Mapping[str, Any]

    def file(self, origin: str) -> Path:
        return self.journal / f"{origin}.journal"

    def open(self, origin: str) -> Replicator:
        return Replicator(
            self.replicas,
            journal=self.journal,
            durability="disk",
            origin=origin,
            **self.settings,
        )


class Session:
    """Owns the journal of an outbox from its making to `close`.

    Raises `ForeignOutboxError` where the outbox is not the journal's, `JournalError` where another
    process has the journal, `ConfigurationError` for settings that cannot work.
    """

    def __init__(self, connection: sqlite3.Connection, delivery: Delivery) -> None:
        self._connection = connection
        self._delivery = delivery
        found = _begun(connection, delivery)
        self.replicator = delivery.open(found.origin)
        self._origin = found.origin
        self._base = found.base
        self._submitted = self._deleted = found.base

    def relay(self) -> int:
        """Hand over the next transactions, and delete them when they are in the journal's file.

        Returns how many there were. Raises `ForeignOutboxError`, `sqlite3.Error` and `OSError`:
        nothing is lost, and it can be tried again.
        """
        with _reading(self._connection):
            _check(self._connection, self._delivery)
            entries = pending(self._connection, self._submitted, _BATCH)
        if entries:
            last = entries[-1]
            self._note(last.id, last.mark.hex())
            for entry in entries:
                self._submit(entry)
            self._submitted = last.id
        if self._submitted > self._deleted:
            self._delete()
        return len(entries)

    def close(self, timeout: float) -> bool:
        """Wait so many seconds for the replicas; whether they have everything."""
        deadline = time.monotonic() + timeout
        done = self._flush(timeout) and self._submitted == self._deleted
        if done:
            with _reading(self._connection):
                through = extent(self._connection).deleted
            record = _record.read(self._delivery.journal)
            noted = record.mark if record is not None and record.through == through else ""
            self._note(through, noted, settled=True)
        self.replicator.close(max(0.0, deadline - time.monotonic()))
        if done and not self._delivery.file(self._origin).exists():
            new_origin(self._connection, through)
        return done

    def _flush(self, timeout: float) -> bool:
        """Whether the replicas have all that was in the outbox. What never came there, `flush()`
        tells, and is no matter of the journal's."""
        if self.replicator.flush(timeout):
            return True
        stats = self.replicator.stats()
        return not (stats.pending or stats.waiting_journals)

    def abandon(self) -> None:
        """Leave the journal as it is, for the next one."""
        self.replicator.close(0)

    def _note(self, through: int, noted: str, *, settled: bool = False) -> None:
        _record.write(self._delivery.journal, Record(self._origin, through, noted, settled))

    def _submit(self, entry: Entry) -> None:
        transaction = self.replicator.transaction()
        for one in entry.statements:
            _gather(transaction, one)
        transaction.commit(seq=entry.id - self._base)

    def _delete(self) -> None:
        safe, stats = self.replicator.sync(), self.replicator.stats()
        if not safe or all(replica.state == "closed" for replica in stats.replicas):
            problem = stats.journal_problem or "it was closed"
            raise JournalError(f"the journal {self._delivery.file(self._origin)}: {problem}")
        # Nobody wakes the replicas' tasks when it was sync() that put the writes into the file.
        self.replicator.replay(())
        delete_through(self._connection, self._submitted)
        self._deleted = self._submitted


def reset(connection: sqlite3.Connection, journal: Path) -> None:
    """Begin anew: all that was committed until now is on the replicas, copied there."""
    with _reading(connection):
        found = extent(connection)
    for path in journal.glob(f"{found.origin}.journal*"):
        path.unlink()
    journal.mkdir(parents=True, exist_ok=True)
    name = new_origin(connection, found.last)
    _record.write(journal, Record(name, found.last, "", settled=True))


def _begun(connection: sqlite3.Connection, delivery: Delivery) -> Extent:
    """The extent of the outbox, which goes on where the journal is, or has a new origin."""
    with _reading(connection):
        record = _check(connection, delivery)
        found = extent(connection)
    if record is None or record.origin != found.origin or delivery.file(found.origin).exists():
        return found
    if not record.settled:
        raise _foreign(delivery, f"the journal of {found.origin} is gone")
    new_origin(connection, record.through)
    return extent(connection)


def _check(connection: sqlite3.Connection, delivery: Delivery) -> Record | None:
    record = _record.read(delivery.journal)
    noted = mark(connection, record.through) if record is not None else None
    why = _record.difference(extent(connection), record, noted)
    if why is not None:
        raise _foreign(delivery, why)
    return record


def _foreign(delivery: Delivery, why: str) -> ForeignOutboxError:
    return ForeignOutboxError(
        f"diverged: the outbox is not the one that the journal in {delivery.journal} knows: {why}."
        " Was the database restored or copied, or the journal removed? Nothing is relayed: copy"
        " the database to every replica, then begin anew (afterquery relay --reset)"
    )


def _gather(transaction: Any, one: Statement) -> None:
    if one.error is None:
        params = tuple(settled(row) for row in one.params) if one.many else settled(one.params)
        transaction.after_query(one.sql, params, one.changes, many=one.many)
    else:
        transaction.after_query(one.sql, _Unkept(one.error), many=True)


class _Unkept:
    """Parameters that could not be kept: the write is rejected, and says why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __iter__(self) -> Iterator[Any]:
        raise ValueError(self._why)


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads see the database at one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
