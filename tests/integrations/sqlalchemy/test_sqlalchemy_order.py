"""Commit order is seq order, however many threads commit."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import PoolProxiedConnection

from replication.world import TIMEOUT, peers
from support.alchemy import users, world_on

CHAIN = text("UPDATE users SET n = (n * 31 + :k) % 1000003 WHERE id = 1")


@pytest.mark.parametrize("level", ["SERIALIZABLE", "AUTOCOMMIT"])
@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_two_threads_and_more(tmp_path: Path, level: str, journal: str) -> None:
    """Each write depends on all before it, so that any other order ends elsewhere."""
    path = tmp_path / "primary.db"
    engine = create_engine(
        f"sqlite:///{path}", isolation_level=level, connect_args={"timeout": TIMEOUT}
    )

    def work(number: int) -> None:
        chance = random.Random(number)
        for turn in range(30):
            with engine.connect() as connection:
                connection.execute(CHAIN, {"k": chance.randrange(1_000)})
                connection.execute(insert(users).values(name=f"{number}-{turn}"))
                (connection.rollback if turn % 5 == 4 else connection.commit)()

    with peers(tmp_path, 1) as replicas, world_on(engine, path, replicas) as world:
        with closing(sqlite3.connect(path)) as plain:
            plain.execute(f"PRAGMA journal_mode = {journal}")
        with engine.begin() as connection:
            connection.execute(insert(users).values(id=1, name="chain", n=1))
        together(work, 4)
        world.same(writes=1 + (4 * 30 * 2 if level == "AUTOCOMMIT" else 4 * 24))


def test_sessions_in_threads(tmp_path: Path) -> None:
    path = tmp_path / "primary.db"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": TIMEOUT})
    make = sessionmaker(engine)

    def work(number: int) -> None:
        for turn in range(20):
            with make() as session, session.begin():
                session.execute(CHAIN, {"k": number * turn})
                with session.begin_nested() as savepoint:
                    session.execute(CHAIN, {"k": 7})
                    if turn % 2:
                        savepoint.rollback()

    with peers(tmp_path, 1) as replicas, world_on(engine, path, replicas) as world:
        with engine.begin() as connection:
            connection.execute(insert(users).values(id=1, name="chain", n=1))
        together(work, 3)
        world.same(writes=1 + 3 * 20)


class Race:
    """The first to call is held back in `hold`; the other runs meanwhile."""

    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work
        self._first_is_there = threading.Event()
        self._second_is_done = threading.Event()

    def hold(self) -> None:
        """Called where the race is: the second one gets as far as SQLite's lock lets it."""
        if not self._first_is_there.is_set():
            self._first_is_there.set()
            self._second_is_done.wait(0.5)

    def run(self) -> None:
        together(self._turn, 2)

    def _turn(self, number: int) -> None:
        if number == 1:
            assert self._first_is_there.wait(TIMEOUT)
        self._work(1 + number)
        if number == 1:
            self._second_is_done.set()


def test_who_hears_of_its_commit_late_is_still_the_first(tmp_path: Path) -> None:
    path = tmp_path / "primary.db"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": TIMEOUT})

    def work(number: int) -> None:
        with engine.begin() as connection:
            connection.execute(CHAIN, {"k": number})

    race = Race(work)
    commit = engine.dialect.do_commit

    def slow(connection: PoolProxiedConnection) -> None:
        commit(connection)
        if threading.current_thread() is not threading.main_thread():
            race.hold()

    engine.dialect.do_commit = slow  # type: ignore[assignment]
    with peers(tmp_path, 1) as replicas, world_on(engine, path, replicas) as world:
        with engine.begin() as connection:
            connection.execute(insert(users).values(id=1, name="chain", n=1))
        race.run()
        world.same(writes=3)


def test_a_statement_that_commits_by_itself_has_its_place_too(tmp_path: Path) -> None:
    path = tmp_path / "primary.db"
    engine = create_engine(
        f"sqlite:///{path}", isolation_level="AUTOCOMMIT", connect_args={"timeout": TIMEOUT}
    )

    def work(number: int) -> None:
        with engine.connect() as connection:
            connection.execute(CHAIN, {"k": number})

    race = Race(work)
    execute = engine.dialect.do_execute

    def slow(cursor: DBAPICursor, sql: str, *rest: Any) -> None:
        execute(cursor, sql, *rest)
        if threading.current_thread() is not threading.main_thread():
            race.hold()

    engine.dialect.do_execute = slow  # type: ignore[assignment]
    with peers(tmp_path, 1) as replicas, world_on(engine, path, replicas) as world:
        with engine.connect() as connection:
            connection.execute(insert(users).values(id=1, name="chain", n=1))
        race.run()
        world.same(writes=3)


def together(work: Callable[[int], None], count: int) -> None:
    """Run it in so many threads that start at once; raise what any of them raises."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(begin, range(count)))
