"""What ORM sessions commit, SQLModel's among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import bindparam, delete, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlmodel import Field, SQLModel
from sqlmodel import Session as SQLModelSession
from sqlmodel import select as select_model

from afterquery.sqlalchemy import attach
from replication.world import connect, fulfilled, peers
from support.alchemy import Order, User, World, engine_on, metadata, wipe, world_on
from support.peer import PeerProcess


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path_factory.mktemp("peers"), 2) as processes:
        yield processes


@pytest.fixture(params=["legacy", "begin"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, replicas: Sequence[PeerProcess]
) -> Iterator[World]:
    path = tmp_path / "primary.db"
    with world_on(engine_on(path, request.param), path, replicas) as world:
        yield world


def test_a_unit_of_work_is_one_write(world: World) -> None:
    with Session(world.engine) as session:
        ada = User(name="Ada", n=1)
        session.add_all([ada, Order(what="book", user_id=None)])
        session.commit()
        ada.n = 2
        session.add(Order(what="pen", user_id=ada.id))
        session.flush()
        session.delete(ada)
        session.commit()
        session.add(User(name="never"))
        session.flush()
        session.rollback()
        assert session.execute(select(User)).all() == []
    world.same(writes=2)


def test_nested_sessions(world: World) -> None:
    with Session(world.engine) as session, session.begin():
        session.add(User(name="a"))
        session.flush()
        with suppress(IntegrityError), session.begin_nested():
            session.add(User(name="a"))
        with session.begin_nested() as savepoint:
            session.add(User(name="b"))
            session.flush()
            savepoint.rollback()
        with session.begin_nested():
            session.add(User(name="c"))
    world.same(writes=1)
    assert world.names() == ["a", "c"]


def test_a_failing_flush_rolls_back(world: World) -> None:
    with Session(world.engine) as session:
        session.add(User(name="a"))
        session.flush()
        session.add_all([User(name="b"), User(name="a")])
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        session.add(User(name="c"))
        session.commit()
    world.same(writes=1)
    assert world.names() == ["c"]


def test_bulk_operations(world: World) -> None:
    with Session(world.engine) as session:
        rows = [{"name": f"u{n}", "n": n} for n in range(1_200)]
        session.execute(insert(User), rows)
        session.bulk_save_objects([Order(what=f"o{n}") for n in range(300)])
        session.bulk_insert_mappings(Order.__mapper__, [{"what": "m"}, {"what": "n", "user_id": 1}])
        session.execute(update(User), [{"id": n, "n": -n} for n in range(1, 50)])
        session.execute(update(User).where(User.n > 1_000).values(n=User.n * 2))
        session.execute(delete(User).where(User.id.in_([3, 5, 7])))
        session.scalars(insert(Order).returning(Order), [{"what": "r"}, {"what": "s"}]).all()
        session.execute(text("UPDATE orders SET what = :what"), {"what": "all"})
        session.connection().execute(
            update(User).where(User.name == bindparam("who")).values(n=bindparam("to")),
            [{"who": "u1", "to": 1}, {"who": "u2", "to": 2}],
        )
        session.commit()
    world.same(writes=1)


def test_a_session_of_a_connection_that_others_end(world: World) -> None:
    """The recipe for test suites: the session commits savepoints, the outermost decides."""
    with world.engine.connect() as connection:
        outer = connection.begin()
        connection.exec_driver_sql("INSERT INTO users (name) VALUES ('outer')")
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.add(User(name="inner"))
            session.commit()
        outer.rollback()
    world.same(writes=0)


def test_a_session_left_open(world: World) -> None:
    session = Session(world.engine)
    session.add(User(name="a"))
    session.flush()
    del session
    gc.collect()
    scoped = scoped_session(sessionmaker(world.engine))
    scoped.add(User(name="b"))
    scoped.flush()
    scoped.remove()
    scoped.add(User(name="c"))
    scoped.commit()
    scoped.remove()
    world.same(writes=1)
    assert world.names() == ["c"]


def test_what_other_listeners_rewrite_is_what_counts(world: World) -> None:
    @event.listens_for(world.engine, "before_cursor_execute", retval=True)
    def tagged(_c: object, _cu: object, sql: str, params: object, *_: object) -> object:
        return f"{sql.replace('before', 'after')} /* tag */", params

    with Session(world.engine) as session:
        session.execute(text("INSERT INTO users (name) VALUES ('before')"))
        session.commit()
    world.same(writes=1)
    assert world.names() == ["after"]


def test_a_sessionmaker_with_several_engines(
    tmp_path: Path, replicas: Sequence[PeerProcess]
) -> None:
    for process in replicas:
        wipe(process)
    engines = [engine_on(tmp_path / f"{number}.db") for number in range(2)]
    for engine in engines:
        metadata.create_all(engine)
    for process in replicas:
        process.client().run("CREATE TABLE users (id INTEGER PRIMARY KEY, name, n, data)")
        process.client().run("CREATE TABLE orders (id INTEGER PRIMARY KEY, what, user_id)")
    make = sessionmaker(binds={User: engines[0], Order: engines[1]})
    with connect(*replicas) as replicator:
        attached = attach(make, replicator)
        with make.begin() as session:
            session.add_all([User(name="a"), Order(what="b")])
        fulfilled(attached.last)
        assert replicator.stats().writes == 2  # one a database
        assert replicator.flush(10)
        attached.detach()
    for process in replicas:
        client = process.client()
        assert client.rows("SELECT name FROM users") == [("a",)]
        assert client.rows("SELECT what FROM orders") == [("b",)]
    for engine in engines:
        engine.dispose()


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str
    age: int | None = None


def test_sqlmodel(world: World) -> None:
    SQLModel.metadata.tables["hero"].create(world.engine)
    with SQLModelSession(world.engine) as session:
        hero = Hero(name="Deadpond")
        session.add(hero)
        session.commit()
        session.refresh(hero)
        hero.age = 30
        session.add(hero)
        session.add(Hero(name="Rusty"))
        session.commit()
        session.delete(hero)
        session.flush()
        session.rollback()
        found = session.exec(select_model(Hero).order_by(Hero.name)).all()
        assert [hero.name for hero in found] == ["Deadpond", "Rusty"]
    world.same(writes=3)
