"""What following SQLAlchemy costs, against the same work without us, in one run.

python bench/integrations/sqlalchemy_overhead.py [rounds]

Three engines take turns, round by round, on files of their own, so that what else the machine does
falls on all: one alone, one that is followed while its replica is away, which is what the caller
pays, and one whose writes a peer takes meanwhile, in another process on the same cores. Compare
ratios, not runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session

import afterquery
from afterquery import Replicator
from afterquery.sqlalchemy import attach

TOKEN = "bench"
PEER = """
import sys
from afterquery.peer.serve import serve
serve(sys.argv[1], "127.0.0.1", 0, sys.argv[2])
"""
metadata = MetaData()
users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String),
    Column("email", String),
    Column("score", Integer),
)


class Base(DeclarativeBase):
    metadata = metadata


class User(Base):
    __table__ = users


ROW = {"name": "Ada Lovelace", "email": "ada@example.com", "score": 7}


def read(engine: Engine) -> None:
    with engine.connect() as connection:
        for n in range(200):
            connection.execute(select(users).where(users.c.id == n)).all()


def core(engine: Engine) -> None:
    with engine.begin() as connection:
        for _ in range(200):
            connection.execute(insert(users).values(**ROW))


def commits(engine: Engine) -> None:
    for _ in range(20):
        with engine.begin() as connection:
            connection.execute(insert(users).values(**ROW))


def autocommit(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(20):
            connection.execute(insert(users).values(**ROW))


def orm(engine: Engine) -> None:
    for _ in range(20):
        with Session(engine) as session:
            session.add(User(**ROW))
            session.commit()


def many(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users), [ROW] * 1_000)


def bulk(engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([User(**ROW) for _ in range(300)])
        session.commit()


async def in_async(engine: AsyncEngine) -> None:
    for _ in range(10):
        async with engine.begin() as connection:
            for _ in range(5):
                await connection.execute(insert(users).values(**ROW))


SYNC: list[tuple[str, Callable[[Engine], None], int]] = [
    ("SELECT of one row", read, 200),
    ("INSERT in a transaction of 200", core, 200),
    ("transaction of one INSERT", commits, 20),
    ("INSERT in AUTOCOMMIT", autocommit, 20),
    ("ORM session of one object", orm, 20),
    ("executemany, a row", many, 1_000),
    ("ORM flush of 300, an object", bulk, 300),
]


@contextmanager
def peer(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-u", "-c", PEER, str(folder / "copy.db"), TOKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Times:
    """Seconds of each round: alone, followed, and followed with a replica that takes it all."""

    def __init__(self) -> None:
        self.all: tuple[list[float], list[float], list[float]] = ([], [], [])

    def show(self, name: str, count: int) -> None:
        """Medians of a single one, and medians of the rounds' ratios."""
        alone, followed, delivered = self.all
        cells = [f"{statistics.median(alone) / count * 1e6:.1f} µs"]
        for times in (followed, delivered):
            ratio = statistics.median(b / a for a, b in zip(alone, times, strict=True))
            cells.append(f"{statistics.median(times) / count * 1e6:.1f} µs ({ratio:.2f})")
        print(f"| {name} | {' | '.join(cells)} |")


def measure_sync(folder: Path, replicators: list[Replicator], rounds: int) -> None:
    engines = [create_engine(f"sqlite:///{folder / name}.db") for name in "abc"]
    for engine, replicator in zip(engines[1:], replicators, strict=True):
        attach(engine, replicator)
    for engine in engines:
        metadata.create_all(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    for name, work, count in SYNC:
        times = Times()
        for _ in range(rounds):
            for engine, taken in zip(engines, times.all, strict=True):
                taken.append(timed(lambda work=work, engine=engine: work(engine)))  # type: ignore[misc]
            replicators[1].flush(60)
        times.show(name, count)


async def measure_async(folder: Path, replicators: list[Replicator], rounds: int) -> None:
    engines = [create_async_engine(f"sqlite+aiosqlite:///{folder / name}.db") for name in "abc"]
    for engine, replicator in zip(engines[1:], replicators, strict=True):
        attach(engine, replicator)
    times = Times()
    for _ in range(rounds):
        for engine, taken in zip(engines, times.all, strict=True):
            start = time.perf_counter()
            await in_async(engine)
            taken.append(time.perf_counter() - start)
        await replicators[1].aflush(60)
    times.show("aiosqlite, transaction of 5 INSERTs", 10)
    for engine in engines:
        await engine.dispose()


def main() -> None:
    if afterquery._core.__profile__ != "release":
        sys.exit("this is a debug build: run `make bench`")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()},", end=" ")
    print(f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, WAL\n")
    print("| what | alone | followed | and delivered |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            peer(folder) as url,
            Replicator([url], auth_token=TOKEN, ddl=True) as delivering,
            Replicator(["http://127.0.0.1:9"], ddl=True, retry_base=60, retry_max=60) as following,
        ):
            measure_sync(folder, [following, delivering], rounds)
            asyncio.run(measure_async(folder, [following, delivering], rounds))
            following.close(0)


logging.getLogger("afterquery").setLevel(logging.CRITICAL)  # one of them has nobody to send to
main()
