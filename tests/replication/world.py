"""A primary and its replicas as an application has them, and a comparison that misses nothing."""

from __future__ import annotations

import json
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterquery import Outcome, Replica, ReplicaStats, Replication, Replicator
from support import workerd
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN, ReplicaProcess

TIMEOUT = 60.0
"""Longer than anything here takes: only a test that fails waits for it."""

Row = tuple[Any, ...]
Read = Callable[[list[str]], list[list[Row]]]
"""Runs queries, each with its rows."""


def until(condition: Callable[[], object], what: str, timeout: float = TIMEOUT) -> None:
    """Wait until `condition` holds; fail with `what` when it does not come to hold."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s in vain until {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Table:
    """A table of the primary, and how its rows are read so that no difference is hidden."""

    name: str
    columns: tuple[str, ...]

    @property
    def select(self) -> str:
        shown = ", ".join(
            f"typeof({column}) AS t{at}, {_exact(column)} AS v{at}"
            for at, column in enumerate(self.columns)
        )
        return f"SELECT {shown} FROM {_quoted(self.name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _exact(column: str) -> str:
    """Text that JSON carries without loss: digits, hexadecimal bytes, or a float that is finite."""
    return (
        f"CASE typeof({column}) WHEN 'real' THEN "
        f"CASE WHEN {column} > 1.7976931348623157e308 THEN '+inf' "
        f"WHEN {column} < -1.7976931348623157e308 THEN '-inf' ELSE {column} END "
        f"WHEN 'integer' THEN CAST({column} AS TEXT) ELSE hex({column}) END"
    )


def _decoded(row: Row) -> Row:
    """The same row as a reader of a failed test wants to see it."""
    return tuple(_value(kind, value) for kind, value in zip(row[::2], row[1::2], strict=True))


def _value(kind: str, value: Any) -> Any:
    if kind == "text":
        return bytes.fromhex(value).decode(errors="surrogateescape")
    # JSON knows no difference between 5 and 5.0; infinities are words.
    return kind, float(value) if kind == "real" else value


class Primary:
    """The application's own database, in a file."""

    def __init__(self, path: Path, schema: str = "") -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # As on the replicas; and no test cuts this machine's power.
        self.connection.executescript("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF;")
        self.connection.executescript(schema)

    def run(self, sql: str, params: Any = None, *, many: bool = False) -> sqlite3.Cursor:
        """Run a statement to its end, rows that it returns included."""
        with warnings.catch_warnings():
            # What the driver thinks of dates and of `?1` is not what is tested here.
            warnings.simplefilter("ignore", DeprecationWarning)
            if many:
                return self.connection.executemany(sql, params)
            cursor = self.connection.execute(sql, () if params is None else params)
            cursor.fetchall()
            return cursor

    def rows(self, sql: str) -> list[Row]:
        return [tuple(row) for row in self.connection.execute(sql)]

    def read(self, queries: list[str]) -> list[list[Row]]:
        return [self.rows(sql) for sql in queries]

    def tables(self) -> list[Table]:
        listed = self.rows(
            "SELECT name, wr FROM pragma_table_list"
            " WHERE schema = 'main' AND type IN ('table', 'virtual') AND name <> 'sqlite_schema'"
        )
        return [self._table(name, bool(without_rowid)) for name, without_rowid in sorted(listed)]

    def _table(self, name: str, without_rowid: bool) -> Table:
        columns = self.connection.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (name,)
        )
        quoted = [_quoted(column) for (column,) in columns]
        return Table(name, tuple(quoted if without_rowid else ["rowid", *quoted]))

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Primary:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def reader(process: ReplicaProcess) -> Iterator[Read]:
    """Reads a replica: a peer's file directly, another engine through its own protocol."""
    if not isinstance(process, PeerProcess):
        yield lambda queries: _ask(process, queries)
        return
    with closing(sqlite3.connect(process.db)) as connection:
        yield lambda queries: [connection.execute(sql).fetchall() for sql in queries]


def _ask(process: ReplicaProcess, queries: list[str]) -> list[list[Row]]:
    body = json.dumps({"transaction": [{"sql": sql} for sql in queries]})
    results = process.client().send(body).result
    return [[tuple(row.values()) for row in rows] for rows in results]


def contents(read: Read, tables: Sequence[Table]) -> dict[str, list[Row]]:
    """Every row of `tables`, each value with its type, in an order of its own."""
    found = read([table.select for table in tables])
    return {
        table.name: sorted((_decoded(row) for row in rows), key=repr)
        for table, rows in zip(tables, found, strict=True)
    }


def assert_same(primary: Primary, *processes: ReplicaProcess) -> None:
    """Every table of every replica is as on the primary, row by row and type by type."""
    tables = primary.tables()
    expected = contents(primary.read, tables)
    for process in processes:
        with reader(process) as read:
            found = contents(read, tables)
        for name, wanted in expected.items():
            assert found[name] == wanted, f"{process.name}: table {name} differs"


def prepare(schema: str, *processes: ReplicaProcess) -> None:
    """Run a schema on replicas, as whoever sets them up does."""
    for process in processes:
        process.client().run(schema)


def replica(process: ReplicaProcess, *, url: str | None = None, **settings: Any) -> Replica:
    """The replica under its process's name; at `url` where something stands in between."""
    return Replica(url or process.url, **{"name": process.name, **settings})


def connect(*targets: ReplicaProcess | Replica | str, **settings: Any) -> Replicator:
    """A replicator that tries again soon: a test has no time for polite pauses."""
    replicas = [
        replica(target) if isinstance(target, ReplicaProcess) else target for target in targets
    ]
    quick: dict[str, Any] = {"auth_token": ADMIN_TOKEN, "retry_base": 0.01, "retry_max": 0.2}
    return Replicator(replicas, **(quick | settings))


@contextmanager
def peers(
    folder: Path, count: int, *, like_starbasedb: bool = False
) -> Iterator[list[PeerProcess]]:
    """Peers named `peer-0`, `peer-1`, …"""
    with ExitStack() as stack:
        started = []
        for number in range(count):
            process = PeerProcess(folder / f"peer-{number}", like_starbasedb=like_starbasedb)
            process.name = f"peer-{number}"
            stack.enter_context(process)
            started.append(process)
        yield started


@contextmanager
def both_engines(folder: Path) -> Iterator[list[ReplicaProcess]]:
    """One peer and one instance of the real storage engine."""
    workerd.require()
    processes: list[ReplicaProcess] = [
        PeerProcess(folder / "peer"),
        workerd.WorkerdProcess(folder / "workerd"),
    ]
    with ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
        yield processes


def settled(replication: Replication | None) -> dict[str, Outcome]:
    """The outcomes of a write, by replica."""
    assert replication is not None, "nothing was replicated"
    outcomes = replication.wait(TIMEOUT)
    assert replication.settled
    return {outcome.replica: outcome for outcome in outcomes}


def fulfilled(replication: Replication | None) -> None:
    """The write is on every replica, and changed as many rows there as on the primary."""
    outcomes = settled(replication)
    assert outcomes
    wrong = [o for o in outcomes.values() if o.status != "fulfilled" or o.reason is not None]
    assert not wrong, wrong


def rejected(replication: Replication | None) -> dict[str, str]:
    """The reasons why no replica took the write, by replica."""
    outcomes = settled(replication)
    assert outcomes
    assert all(outcome.status == "rejected" for outcome in outcomes.values()), outcomes
    return {name: outcome.reason or "" for name, outcome in outcomes.items()}


def of(replicator: Replicator, name: str) -> ReplicaStats:
    """The statistics of one replica."""
    (found,) = [stats for stats in replicator.stats().replicas if stats.name == name]
    return found


def counted(skipped: Mapping[str, int]) -> dict[str, int]:
    """The reasons for which anything was left out."""
    return {reason: count for reason, count in skipped.items() if count}
