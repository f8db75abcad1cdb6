"""What SQLAlchemy Core commits reaches the replicas, and nothing else does."""

from __future__ import annotations

import gc
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import NullPool

from afterquery import ConfigurationError
from afterquery.sqlalchemy import attach
from replication.world import Primary, counted, fulfilled, peers
from support.alchemy import MODES, World, engine_on, users, world_on
from support.peer import PeerProcess


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path_factory.mktemp("peers"), 2) as processes:
        yield processes


@pytest.fixture(params=MODES)
def world(
    request: pytest.FixtureRequest, tmp_path: Path, replicas: Sequence[PeerProcess]
) -> Iterator[World]:
    if request.param == "autocommit_false" and sys.version_info < (3, 12):
        pytest.skip("sqlite3 has `autocommit` since Python 3.12")
    path = tmp_path / "primary.db"
    with world_on(engine_on(path, request.param), path, replicas) as world:
        yield world


@pytest.fixture
def plain(tmp_path: Path, replicas: Sequence[PeerProcess]) -> Iterator[World]:
    """In the driver's default mode only."""
    path = tmp_path / "primary.db"
    with world_on(engine_on(path), path, replicas) as world:
        yield world


def add(connection: Connection, *names: str) -> None:
    for name in names:
        connection.execute(insert(users).values(name=name))


def test_a_commit_is_one_write(world: World) -> None:
    with world.engine.begin() as connection:
        add(connection, "a", "b")
        connection.execute(update(users).values(n=users.c.n + 1))
        assert world.replicator.stats().writes == world.before
    world.same(writes=1)
    assert world.names() == ["a", "b"]


def test_commit_as_you_go(world: World) -> None:
    with world.engine.connect() as connection:
        add(connection, "a")
        connection.commit()
        add(connection, "b")
        connection.rollback()
        add(connection, "c")
        connection.commit()
    world.same(writes=2)
    assert world.names() == ["a", "c"]


def test_a_rollback_is_dropped(world: World) -> None:
    with world.engine.connect() as connection:
        add(connection, "a", "b")
        connection.rollback()
    world.same(writes=0)
    assert counted(world.replicator.stats().skipped)["dropped"] == 2


def test_an_exception_is_dropped(world: World) -> None:
    def fail() -> None:
        with world.engine.begin() as connection:
            add(connection, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    world.same(writes=0)


def test_a_nested_savepoint_rolled_back_takes_only_its_own(world: World) -> None:
    with world.engine.begin() as connection:
        add(connection, "kept")
        with connection.begin_nested() as outer:
            add(connection, "gone")
            with connection.begin_nested():
                add(connection, "gone too")
            outer.rollback()
        with suppress(ZeroDivisionError), connection.begin_nested():
            add(connection, "raised")
            raise ZeroDivisionError
        add(connection, "kept too")
    world.same(writes=1)
    assert world.names() == ["kept", "kept too"]


def test_a_nested_savepoint_released_stays(world: World) -> None:
    with world.engine.begin() as connection:
        add(connection, "a")
        with connection.begin_nested():
            add(connection, "b")
            with connection.begin_nested():
                add(connection, "c")
            inner = connection.begin_nested()
            add(connection, "d")
            inner.rollback()
    world.same(writes=1)
    assert world.names() == ["a", "b", "c"]


def test_a_savepoint_first_is_what_the_database_makes_of_it(world: World) -> None:
    """In sqlite3's default mode the RELEASE is a COMMIT, whatever SQLAlchemy thinks."""
    with world.engine.connect() as connection:
        with connection.begin_nested():
            add(connection, "a")
        add(connection, "b")
        connection.rollback()
    names = world.names()
    assert names in ([], ["a"])
    world.same(writes=len(names))


def test_savepoints_by_hand(world: World) -> None:
    with world.engine.begin() as connection:
        add(connection, "a")
        connection.exec_driver_sql("/* one */ SAVEPOINT [Mark One]")
        add(connection, "b")
        connection.exec_driver_sql('savepoint "mark""two"')
        add(connection, "c")
        connection.exec_driver_sql("ROLLBACK TRANSACTION TO 'MARK ONE' -- and all after it")
        add(connection, "d")
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT `mark one`")
        add(connection, "e")
        connection.exec_driver_sql("RELEASE SAVEPOINT [mark one];")
    world.same(writes=1)
    assert world.names() == ["a", "e"]


def test_the_same_savepoint_name_twice_means_the_inner_one(world: World) -> None:
    with world.engine.begin() as connection:
        add(connection, "a")
        connection.exec_driver_sql("SAVEPOINT s")
        add(connection, "b")
        connection.exec_driver_sql("SAVEPOINT s")
        add(connection, "c")
        connection.exec_driver_sql("ROLLBACK TO s")
        connection.exec_driver_sql("RELEASE s")
        add(connection, "d")
        connection.exec_driver_sql("ROLLBACK TO s")
        add(connection, "e")
    world.same(writes=1)
    assert world.names() == ["a", "e"]


def test_a_failing_statement_leaves_the_transaction(world: World) -> None:
    with world.engine.begin() as connection:
        add(connection, "a")
        with pytest.raises(IntegrityError):
            add(connection, "a")
        with pytest.raises(OperationalError):
            connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
        add(connection, "b")
    world.same(writes=1)
    assert world.names() == ["a", "b"]


def test_a_failing_statement_that_rolls_all_back(world: World) -> None:
    """ON CONFLICT ROLLBACK ends the transaction, and what follows is another one."""
    with world.engine.connect() as connection:
        add(connection, "a", "b")
        with pytest.raises(IntegrityError):
            connection.exec_driver_sql("INSERT OR ROLLBACK INTO users (name) VALUES ('a')")
        add(connection, "c")
        with suppress(OperationalError):  # `autocommit=False` did not begin again
            connection.commit()
    world.same(writes=1)
    assert world.names() == ["c"]


def test_executemany(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(insert(users), [{"name": f"u{n}", "data": b"\0"} for n in range(50)])
        connection.execute(
            update(users).where(users.c.name == text(":who")).values(n=text(":n")),
            [{"who": f"u{n}", "n": n} for n in range(50)],
        )
        connection.exec_driver_sql("DELETE FROM users WHERE name = ?", [("u1",), ("u2",)])
        connection.exec_driver_sql("INSERT INTO users (name) VALUES (:a)", [{"a": "x"}, {"a": "y"}])
    world.same(writes=1)
    assert len(world.names()) == 50


def test_a_failing_executemany_leaves_the_rows_before_it(world: World) -> None:
    sql = "INSERT INTO users (name) VALUES (?)"
    with world.engine.begin() as connection:
        with pytest.raises(IntegrityError):
            connection.exec_driver_sql(sql, [("a",), ("b",), ("a",), ("c",)])
        with pytest.raises(IntegrityError):
            connection.exec_driver_sql(sql, [("a",), ("d",)])
        add(connection, "e")
    world.same(writes=1)
    assert world.names() == ["a", "b", "e"]


def test_insertmanyvalues(world: World) -> None:
    statement = insert(users).returning(users.c.id, users.c.name)
    rows = [{"name": f"u{n}"} for n in range(2_500)]
    with world.engine.begin() as connection:
        found = connection.execute(statement, rows).all()
    assert [name for _, name in found] == [row["name"] for row in rows]
    world.same(writes=1)


def test_returning_and_text(world: World) -> None:
    sql = text("INSERT INTO users (name, n) VALUES (:name, :n) RETURNING id")
    with world.engine.begin() as connection:
        assert connection.execute(sql, {"name": "O'Brien ☃", "n": 2**53 + 1}).scalar_one() == 1
        changed = update(users).values(n=users.c.n - 1).returning(users.c.n)
        assert connection.execute(changed).scalars().all() == [2**53]
    world.same(writes=1)


def test_autocommit_of_an_engine(tmp_path: Path, replicas: Sequence[PeerProcess]) -> None:
    path = tmp_path / "p.db"
    engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
    with world_on(engine, path, replicas) as world, engine.connect() as connection:
        autocommits(world, connection)


def test_autocommit_of_a_connection(plain: World) -> None:
    with plain.engine.connect() as connection:
        autocommits(plain, connection.execution_options(isolation_level="AUTOCOMMIT"))
    plain.same()
    with plain.engine.begin() as connection:
        add(connection, "together", "again")
    plain.same(writes=9)


def test_autocommit_of_an_engine_with_options(plain: World) -> None:
    engine = plain.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        autocommits(plain, connection)


def autocommits(world: World, connection: Connection) -> None:
    """Each statement is a write, at once; a rollback finds nothing to take back."""
    add(connection, "a")
    assert world.names() == ["a"]
    world.same(writes=1)
    with pytest.raises(IntegrityError):
        add(connection, "a")
    with pytest.raises(IntegrityError):
        connection.exec_driver_sql("INSERT INTO users (name) VALUES (?)", [("b",), ("a",), ("c",)])
    assert world.names() == ["a", "b"]
    world.same(writes=2)
    sql = text("INSERT INTO users (name) VALUES ('d'), ('e') RETURNING name")
    assert connection.execute(sql).scalars().all() == ["d", "e"]
    connection.rollback()
    assert world.names() == ["a", "b", "d", "e"]
    world.same(writes=3)
    statement = insert(users).returning(users.c.name)
    found = connection.execute(statement, [{"name": f"u{n}"} for n in range(2_000)]).all()
    assert len(found) == 2_000
    connection.exec_driver_sql(
        "WITH w AS (SELECT 'w' AS name) INSERT INTO users (name) SELECT name FROM w"
    )
    connection.execute(insert(users).values(name="x").returning(users.c.name)).first()
    connection.exec_driver_sql("BEGIN")
    add(connection, "y", "z")
    connection.exec_driver_sql("COMMIT")
    connection.exec_driver_sql("VACUUM")
    world.same()


def test_ddl_commits_when_the_database_says_so(world: World) -> None:
    with world.engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE made (x)")
        connection.exec_driver_sql("INSERT INTO made VALUES (1)")
        connection.exec_driver_sql("ALTER TABLE made ADD COLUMN y")
        connection.rollback()
    with Primary(world.path) as primary:
        exists = primary.rows("SELECT count(*) FROM sqlite_schema WHERE name = 'made'")[0][0]
        assert not exists or primary.rows("SELECT count(*) FROM made") == [(0,)]
    world.same(writes=exists)


def test_a_dirty_connection_in_the_pool(world: World) -> None:
    connection = world.engine.connect()
    add(connection, "a")
    connection.close()
    connection = world.engine.connect()
    add(connection, "b")
    del connection
    gc.collect()  # returns it
    with world.engine.begin() as connection:
        add(connection, "c")
    world.same(writes=1)
    assert world.names() == ["c"]


@pytest.mark.parametrize("reset", ["commit", None])
def test_a_pool_that_resets_otherwise(
    reset: str | None, tmp_path: Path, replicas: Sequence[PeerProcess]
) -> None:
    """What `reset_on_return="commit"` commits is a write; with None it stays open there too."""
    path = tmp_path / "p.db"
    engine = engine_on(path, pool_size=1, max_overflow=0, pool_reset_on_return=reset)
    with world_on(engine, path, replicas) as world:
        raw = engine.connect()
        raw.exec_driver_sql("INSERT INTO users (name) VALUES ('a')")
        raw.connection.close()  # past the transaction that SQLAlchemy keeps
        raw.connection.dbapi_connection = None  # type: ignore[misc]
        with engine.begin() as connection:
            add(connection, "b")
        assert world.names() == ["a", "b"]
        world.same(writes=2 if reset else 1)


def test_a_connection_of_no_pool(tmp_path: Path, replicas: Sequence[PeerProcess]) -> None:
    path = tmp_path / "p.db"
    with world_on(engine_on(path, poolclass=NullPool), path, replicas) as world:
        with world.engine.begin() as connection:
            add(connection, "a")
        connection = world.engine.connect()
        add(connection, "b")
        connection.close()
        world.same(writes=1)


def test_an_invalidated_connection(world: World) -> None:
    with world.engine.connect() as connection:
        add(connection, "a")
        connection.invalidate()
        connection.rollback()
        add(connection, "b")
        connection.commit()
    world.same(writes=1)
    assert world.names() == ["b"]


def test_a_detached_connection(world: World) -> None:
    with world.engine.connect() as connection:
        add(connection, "a")
        connection.detach()
        add(connection, "b")
        connection.commit()
        add(connection, "c")
    world.same(writes=1)
    assert world.names() == ["a", "b"]


def test_a_disposed_engine_goes_on(world: World) -> None:
    with world.engine.begin() as connection:
        add(connection, "a")
    world.engine.dispose()
    with world.engine.begin() as connection:
        add(connection, "b")
    world.same(writes=2)


def test_a_failing_commit_is_not_sent(plain: World) -> None:
    """A deferred foreign key: the transaction stays open, can be mended, and is committed."""
    with plain.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql(
            "CREATE TABLE child (user REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        connection.exec_driver_sql("INSERT INTO child VALUES (7)")
        with pytest.raises(IntegrityError, match="FOREIGN KEY"):
            connection.commit()
        assert plain.replicator.stats().writes == plain.before + 1
        connection.rollback()
        plain.same(writes=1)
        connection.exec_driver_sql("INSERT INTO child VALUES (7)")
        with pytest.raises(IntegrityError, match="FOREIGN KEY"):
            connection.exec_driver_sql("COMMIT")
        connection.execute(insert(users).values(id=7, name="late"))
        connection.commit()
        plain.same(writes=2)
    with plain.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        with pytest.raises(IntegrityError, match="FOREIGN KEY"):
            connection.exec_driver_sql("INSERT INTO child VALUES (8)")
        add(connection, "and on")
    plain.same(writes=3)


def test_what_would_differ_is_frozen_before_it_runs(plain: World) -> None:
    with plain.engine.begin() as connection:
        connection.execute(insert(users).values(name=func.hex(func.randomblob(text("8")))))
        connection.execute(insert(users).values(name=func.current_timestamp(), n=func.random()))
        found = connection.execute(select(users.c.name)).scalars().all()
    assert len(set(found)) == 2
    plain.same(writes=1)
    assert plain.replicator.stats().nondeterministic == 0


def test_random_in_executemany_stays_random(plain: World) -> None:
    """One value for all would be another statement: it is told instead."""
    with plain.engine.begin() as connection:
        sql = "INSERT INTO users (name, n) VALUES (hex(randomblob(8)), ?)"
        connection.exec_driver_sql(sql, [(1,), (2,)])
    assert len(set(plain.names())) == 2
    assert plain.replicator.stats().nondeterministic == 1


def test_past_the_engine_is_noticed(plain: World, caplog: pytest.LogCaptureFixture) -> None:
    with plain.engine.connect() as connection:
        add(connection, "a")
        connection.connection.commit()
        add(connection, "b")
        connection.commit()
    assert plain.attached.errors == 1
    assert "1 statements was ended on the driver's connection" in caplog.text


def test_what_a_failed_statement_leaves_is_told(
    plain: World, caplog: pytest.LogCaptureFixture
) -> None:
    with plain.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.exec_driver_sql("INSERT OR FAIL INTO users (name) VALUES ('a'), ('b'), ('a')")
    assert plain.names() == ["a", "b"]
    assert plain.attached.errors == 1
    assert "a statement that failed left changes" in caplog.text


def test_what_the_last_row_of_an_executemany_leaves_is_told(
    plain: World, caplog: pytest.LogCaptureFixture
) -> None:
    sql = "INSERT OR FAIL INTO users (name) VALUES (?), (?)"
    with plain.engine.begin() as connection, pytest.raises(IntegrityError):
        connection.exec_driver_sql(sql, [("a", "b"), ("c", "a"), ("d", "e")])
    assert plain.names() == ["a", "b", "c"]
    assert plain.attached.errors == 1
    assert "a statement that failed left changes" in caplog.text


def test_an_error_of_ours_does_not_reach_the_application(
    plain: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("afterquery.sqlalchemy._follower.Follower._record", broken)
    monkeypatch.setattr("afterquery.sqlalchemy._follower.Follower._take", broken)
    with plain.engine.begin() as connection:
        add(connection, "a")
        assert connection.execute(select(users.c.name)).scalar_one() == "a"
    assert plain.names() == ["a"]
    assert plain.attached.errors == 2
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    monkeypatch.undo()
    with plain.engine.begin() as connection:
        add(connection, "b")
    assert plain.replicator.stats().writes == plain.before + 1


def test_two_phase_is_refused_with_a_reason(plain: World) -> None:
    with (
        plain.engine.connect() as connection,
        pytest.raises(InvalidRequestError, match="two-phase"),
    ):
        connection.begin_twophase()
    session = sessionmaker(plain.engine, twophase=True)()
    with pytest.raises(InvalidRequestError, match="two-phase"):
        session.execute(select(users))
    session.close()


def test_detached_it_follows_nothing(plain: World) -> None:
    with plain.engine.begin() as connection:
        add(connection, "a")
        plain.attached.detach()
        add(connection, "b")
    with plain.engine.begin() as connection:
        add(connection, "c")
    assert plain.replicator.stats().writes == plain.before
    assert "do_commit" not in vars(plain.engine.dialect)
    plain.attached.detach()
    again = attach(plain.engine, plain.replicator)
    with plain.engine.begin() as connection:
        add(connection, "d")
    again.detach()
    assert plain.replicator.stats().writes == plain.before + 1


def test_its_last_write_is_at_hand(plain: World) -> None:
    with plain.engine.begin() as connection:
        add(connection, "a")
    with plain.engine.begin() as connection:
        connection.execute(select(users)).all()
        connection.exec_driver_sql("PRAGMA user_version")
    fulfilled(plain.attached.last)
    assert plain.attached.last is not None
    assert plain.attached.last.seq == plain.before + 1


def test_the_last_write_is_that_of_its_own_engines(plain: World, tmp_path: Path) -> None:
    other = engine_on(tmp_path / "other.db")
    attached = attach(other, plain.replicator)
    sealed = engine_on(tmp_path / "sealed.db")
    with_outbox = attach(sealed, outbox=True)
    for number, engine in enumerate((plain.engine, other, sealed)):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE t{number} (x)")
    assert plain.attached.last is not None
    assert plain.attached.last.seq == plain.before + 1
    assert attached.last is not None
    assert attached.last.seq == plain.before + 2
    assert with_outbox.last is None
    for engine, one in ((other, attached), (sealed, with_outbox)):
        one.detach()
        assert attach(engine, plain.replicator).last is None
        engine.dispose()


def test_in_memory(replicas: Sequence[PeerProcess]) -> None:
    engine = create_engine("sqlite://")
    with world_on(engine, Path(":memory:"), replicas) as world:
        with engine.begin() as connection:
            add(connection, "a")
        fulfilled(world.attached.last)
        found = replicas[0].client().rows("SELECT id, name FROM users")
        assert found == [(1, "a")]


@pytest.mark.parametrize("wrong", [5, "sqlite://", None])
def test_what_cannot_be_attached(plain: World, wrong: object) -> None:
    with pytest.raises(TypeError, match="takes an engine or a sessionmaker"):
        attach(wrong, plain.replicator)  # type: ignore[arg-type]


def test_what_must_not_be_attached(plain: World) -> None:
    for twice in (plain.engine, plain.engine.execution_options(x=1), sessionmaker(plain.engine)):
        with pytest.raises(ConfigurationError, match="attached already"):
            attach(twice, plain.replicator)
    with pytest.raises(ConfigurationError, match="bind it first"):
        attach(sessionmaker(), plain.replicator)
    postgres = Engine.__new__(Engine)
    postgres.__dict__.update(vars(plain.engine))
    postgres.dialect = type("Dialect", (), {"name": "postgresql"})()
    with pytest.raises(ConfigurationError, match="replicas speak SQLite"):
        attach(postgres, plain.replicator)


def test_an_engine_that_ran_before(tmp_path: Path, replicas: Sequence[PeerProcess]) -> None:
    """Connections made before `attach` are followed from then on."""
    path = tmp_path / "p.db"
    engine = engine_on(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    with world_on(engine, path, replicas) as world:
        with engine.begin() as connection:
            add(connection, "a")
        world.same(writes=1)


def test_reads_are_counted_and_cost_no_write(plain: World) -> None:
    before = counted(plain.replicator.stats().skipped).get("read", 0)
    with plain.engine.connect() as connection:
        connection.execute(select(users)).all()
        connection.exec_driver_sql("EXPLAIN INSERT INTO users (name) VALUES ('a')")
    plain.same(writes=0)
    assert counted(plain.replicator.stats().skipped)["read"] == before + 2


def test_a_busy_database_is_the_applications_own_error(
    tmp_path: Path, replicas: Sequence[PeerProcess]
) -> None:
    path = tmp_path / "p.db"
    engine = create_engine(
        f"sqlite:///{path}", isolation_level="AUTOCOMMIT", connect_args={"timeout": 0.01}
    )
    with world_on(engine, path, replicas) as world, engine.connect() as connection:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            add(connection, "a")
        other.execute("COMMIT")
        other.close()
        add(connection, "b")
        world.same(writes=1)


def test_a_closed_replicator_harms_nobody(plain: World) -> None:
    plain.replicator.close()
    with plain.engine.begin() as connection:
        add(connection, "a")
    assert plain.names() == ["a"]


def test_it_needs_no_greenlet() -> None:
    """SQLAlchemy installs it only where it is asked to."""
    code = "import sys; sys.modules['greenlet'] = None; import afterquery.sqlalchemy"
    subprocess.run([sys.executable, "-c", code], check=True)
