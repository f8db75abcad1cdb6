"""What following SQLAlchemy costs, against the same work without us, in one run.

python bench/integrations/sqlalchemy_overhead.py [rounds]

Bare and attached engines take turns, round by round, on files of their own, so that what else the
machine does falls on both; compare ratios, not runs. The replica is a peer in another process.
"""

from __future__ import annotations

import asyncio
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


def show(name: str, bare: list[float], attached: list[float], count: int) -> None:
    """Medians of a single one in microseconds, and the median of the rounds' ratios."""
    one, other = (statistics.median(times) / count * 1e6 for times in (bare, attached))
    ratio = statistics.median(b / a for a, b in zip(bare, attached, strict=True))
    print(f"| {name} | {one:.1f} µs | {other:.1f} µs | {other - one:+.1f} µs | {ratio:.2f} |")


def measure_sync(folder: Path, replicator: Replicator, rounds: int) -> None:
    bare, followed = (create_engine(f"sqlite:///{folder / name}.db") for name in ("a", "b"))
    metadata.create_all(bare)
    attach(followed, replicator)
    metadata.create_all(followed)
    for engine in (bare, followed):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    for name, work, count in SYNC:
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for engine, taken in zip((bare, followed), times, strict=True):
                taken.append(timed(lambda work=work, engine=engine: work(engine)))  # type: ignore[misc]
            replicator.flush(60)
        show(name, *times, count)


async def measure_async(folder: Path, replicator: Replicator, rounds: int) -> None:
    engines = [create_async_engine(f"sqlite+aiosqlite:///{folder / name}.db") for name in "ab"]
    attach(engines[1], replicator)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for engine, taken in zip(engines, times, strict=True):
            start = time.perf_counter()
            await in_async(engine)
            taken.append(time.perf_counter() - start)
        await replicator.aflush(60)
    show("aiosqlite, transaction of 5 INSERTs", *times, 10)
    for engine in engines:
        await engine.dispose()


def main() -> None:
    if afterquery._core.__profile__ != "release":
        sys.exit("this is a debug build: run `make bench`")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()},", end=" ")
    print(f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, WAL\n")
    print("| what | alone | attached | more | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with peer(folder) as url, Replicator([url], auth_token=TOKEN, ddl=True) as replicator:
            measure_sync(folder, replicator, rounds)
            asyncio.run(measure_async(folder, replicator, rounds))


main()
