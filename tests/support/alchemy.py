"""An application on SQLAlchemy with its replicas, for the tests of `afterquery.sqlalchemy`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
)
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from afterquery import Replicator
from afterquery.sqlalchemy import Attached, attach
from replication.world import TIMEOUT, Primary, assert_same, connect
from support.peer import PeerProcess

metadata = MetaData()
users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, unique=True),
    Column("n", Integer, default=0),
    Column("data", LargeBinary),
)


class Base(DeclarativeBase):
    metadata = metadata


class User(Base):
    __table__ = users
    id: Mapped[int]
    name: Mapped[str]
    n: Mapped[int]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str]
    user_id: Mapped[int | None]


MODES = ["legacy", "begin", "autocommit_false"]
"""How sqlite3 begins transactions: its default, SQLAlchemy's old recipe, and Python 3.12's."""


def engine_on(path: Path, mode: str = "legacy", **options: object) -> Engine:
    """An engine whose driver begins transactions in the given way."""
    arguments = {"autocommit": False} if mode == "autocommit_false" else {}
    engine = create_engine(f"sqlite:///{path}", connect_args=arguments, **options)
    if mode == "begin":
        begin_by_hand(engine)
    return engine


def begin_by_hand(engine: Engine) -> None:
    """The recipe of SQLAlchemy's documentation for savepoints and SELECTs in transactions."""

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: object) -> None:
        connection.exec_driver_sql("BEGIN")  # type: ignore[attr-defined]


@dataclass
class World:
    """An attached engine on a file, and replicas with its schema."""

    path: Path
    engine: Engine
    replicator: Replicator
    attached: Attached
    replicas: Sequence[PeerProcess]
    before: int

    def names(self) -> list[str]:
        """The users on the primary, by id."""
        with closing(sqlite3.connect(self.path)) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM users ORDER BY id")]

    def same(self, *, writes: int | None = None, errors: int = 0) -> None:
        """Every row is everywhere; that took so many writes; nothing went wrong in ours."""
        assert self.replicator.flush(TIMEOUT), self.replicator.stats()
        with Primary(self.path) as primary:
            assert_same(primary, *self.replicas)
        stats = self.replicator.stats()
        assert [replica.rejected for replica in stats.replicas] == [0] * len(stats.replicas)
        assert [replica.changes_differ for replica in stats.replicas] == [0] * len(stats.replicas)
        assert self.attached.errors == errors
        if writes is not None:
            assert stats.writes - self.before == writes


@contextmanager
def world_on(engine: Engine, path: Path, replicas: Sequence[PeerProcess]) -> Iterator[World]:
    """Make the schema everywhere, and attach the engine."""
    for process in replicas:
        wipe(process)
    with connect(*replicas, ddl=True) as replicator:
        attached = attach(engine, replicator)
        try:
            metadata.create_all(engine)
            before = replicator.stats().writes
            yield World(path, engine, replicator, attached, replicas, before)
        finally:
            attached.detach()
            engine.dispose()


@asynccontextmanager
async def async_world_on(
    engine: AsyncEngine, path: Path, replicas: Sequence[PeerProcess]
) -> AsyncIterator[World]:
    """The same with an async engine."""
    for process in replicas:
        wipe(process)
    async with connect(*replicas, ddl=True) as replicator:
        attached = attach(engine, replicator)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            before = replicator.stats().writes
            yield World(path, engine.sync_engine, replicator, attached, replicas, before)
        finally:
            attached.detach()
            await engine.dispose()


def wipe(process: PeerProcess) -> None:
    """Take all tables from a replica but its own."""
    client = process.client()
    names = client.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid DESC")
    for (name,) in names:
        if not name.startswith(("sqlite_", "tmp_")):
            client.run(f'DROP TABLE "{name}"')
