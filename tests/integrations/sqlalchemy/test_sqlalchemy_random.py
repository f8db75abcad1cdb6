"""Whatever an application does with a connection, the replica has what the database has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, NestedTransaction, delete, insert, update
from sqlalchemy.exc import DBAPIError

from replication.world import peers
from support.alchemy import World, engine_on, users, world_on

NAMES = "abcdef"
name = st.sampled_from(NAMES)


class Application:
    """One connection, its open savepoints, and all it may do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nested: list[NestedTransaction] = []
        self.connection = self.connect()

    def connect(self, level: str = "SERIALIZABLE") -> Connection:
        return self.world.engine.connect().execution_options(isolation_level=level)

    def insert(self, which: str) -> None:
        self.connection.execute(insert(users).values(name=which))

    def insert_or_roll_back(self, which: str) -> None:
        sql = "INSERT OR ROLLBACK INTO users (name) VALUES (?)"
        self.connection.exec_driver_sql(sql, (which,))

    def insert_many(self, which: str) -> None:
        sql = "INSERT INTO users (name) VALUES (?)"
        rows = [(f"{which}{number}",) for number in range(3)]
        self.connection.exec_driver_sql(sql, [*rows, (which,), ("never",)])

    def insert_returning(self, which: str) -> None:
        rows = [{"name": f"{which}{number}"} for number in range(2)]
        self.connection.execute(insert(users).returning(users.c.id), rows).all()

    def update(self, which: str) -> None:
        self.connection.execute(update(users).where(users.c.name <= which).values(n=users.c.n + 1))

    def delete(self, which: str) -> None:
        self.connection.execute(delete(users).where(users.c.name.startswith(which)))

    def make(self, which: str) -> None:
        self.connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS t{which} AS SELECT 1 AS x")

    def drop(self, which: str) -> None:
        self.connection.exec_driver_sql(f"DROP TABLE t{which}")

    def nest(self, _: str) -> None:
        self.nested.append(self.connection.begin_nested())

    def release(self, _: str) -> None:
        if self.nested:
            self.nested.pop().commit()

    def roll_back_to(self, _: str) -> None:
        if self.nested:
            self.nested.pop().rollback()

    def savepoint_by_hand(self, which: str) -> None:
        self.connection.exec_driver_sql(f"SAVEPOINT {which}")

    def roll_back_by_hand(self, which: str) -> None:
        self.connection.exec_driver_sql(f"ROLLBACK TO {which.upper()}")

    def release_by_hand(self, which: str) -> None:
        self.connection.exec_driver_sql(f"RELEASE {which}")

    def commit(self, _: str) -> None:
        self.nested.clear()
        self.connection.commit()

    def roll_back(self, _: str) -> None:
        self.nested.clear()
        self.connection.rollback()

    def leave_dirty(self, which: str) -> None:
        self.nested.clear()
        self.connection.close()
        self.connection = self.connect("AUTOCOMMIT" if which < "c" else "SERIALIZABLE")

    def invalidate(self, _: str) -> None:
        self.nested.clear()
        self.connection.invalidate()
        self.connection.rollback()


STEPS: list[Callable[[Application, str], None]] = [
    value
    for key, value in vars(Application).items()
    if key not in {"__init__", "connect"} and callable(value)
]


@pytest.fixture(scope="module", params=["legacy", "begin"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("random")
    path: Path = folder / "primary.db"
    engine = engine_on(path, request.param)
    with peers(folder, 1) as replicas, world_on(engine, path, replicas) as world:
        yield world


Steps = list[tuple[Callable[[Application, str], None], str]]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), name), max_size=25))
def test_random_steps(
    world: World, steps: list[tuple[Callable[[Application, str], None], str]]
) -> None:
    with world.engine.begin() as connection:
        connection.execute(delete(users))
    application = Application(world)
    try:
        for step, which in steps:
            # What SQLAlchemy or SQLite refuses, it refuses: the application goes on.
            with suppress(DBAPIError):
                step(application, which)
    finally:
        application.connection.close()
    world.same()
