"""Several statements as one write: all at the end, or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from afterquery import Replication, Replicator
from replication.world import (
    Primary,
    assert_same,
    both_engines,
    connect,
    counted,
    fulfilled,
    of,
    prepare,
    rejected,
    replica,
    settled,
)
from support.process import ReplicaProcess

pytestmark = pytest.mark.workerd

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INT DEFAULT 0);
CREATE TABLE orders (id INTEGER PRIMARY KEY, user INT, what);
"""
CLEAN = "DELETE FROM users; DELETE FROM orders;"
USER = "INSERT INTO users (name) VALUES (?)"
ORDER = "INSERT INTO orders (user, what) VALUES (?, ?)"


@dataclass
class World:
    primary: Primary
    replicas: list[ReplicaProcess]
    replicator: Replicator

    def same(self) -> None:
        assert_same(self.primary, *self.replicas)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Primary, list[ReplicaProcess]]]:
    folder = tmp_path_factory.mktemp("transactions")
    with Primary(folder / "p.db", SCHEMA) as primary, both_engines(folder) as replicas:
        prepare(SCHEMA, *replicas)
        yield primary, replicas


@pytest.fixture
def world(shared: tuple[Primary, list[ReplicaProcess]]) -> Iterator[World]:
    primary, replicas = shared
    primary.connection.executescript(CLEAN)
    prepare(CLEAN, *replicas)
    with connect(*replicas) as replicator:
        yield World(primary, replicas, replicator)


def test_its_statements_are_one_write(world: World) -> None:
    steps = [
        (USER, ("Ada",)),
        (ORDER, (1, b"\x00")),
        ("UPDATE users SET n = n + 1", None),
        ("DELETE FROM orders WHERE what = ? RETURNING id", (b"\x00",)),
        (ORDER, (1, 2.5)),
    ]
    with world.replicator.transaction() as transaction:
        world.primary.run("BEGIN")
        for sql, params in steps:
            # Returns nothing: there is no write before the end.
            assert transaction.after_query(sql, params, world.primary.run(sql, params)) is None  # type: ignore[func-returns-value]
        world.primary.run("COMMIT")
        assert transaction.replication is None
        assert world.replicator.stats().writes == 0
    assert isinstance(transaction.replication, Replication)
    assert transaction.replication.seq == 1
    fulfilled(transaction.replication)
    assert world.replicator.stats().writes == 1
    world.same()


def test_an_exception_drops_it(world: World) -> None:
    transaction = world.replicator.transaction()

    def fail() -> None:
        with transaction:
            transaction.after_query(USER, ("never",))
            transaction.after_query(USER, ("neither",))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert transaction.replication is None
    assert counted(world.replicator.stats().skipped) == {"dropped": 2}
    assert world.replicator.stats().writes == 0
    sql = USER
    fulfilled(world.replicator.after_query(sql, ("next",), world.primary.run(sql, ("next",))))
    world.same()


def test_an_empty_one_is_no_write(world: World) -> None:
    with world.replicator.transaction() as transaction:
        transaction.after_query("SELECT 1")
        transaction.after_query("BEGIN")
        transaction.after_query(USER, [], many=True)
    assert transaction.replication is None
    assert world.replicator.stats().writes == 0


def test_it_cannot_be_used_after_its_end(world: World) -> None:
    with world.replicator.transaction() as transaction:
        transaction.after_query(USER, ("a",))
    with pytest.raises(RuntimeError, match="ended"):
        transaction.after_query(USER, ("b",))
    fulfilled(transaction.replication)


def test_many_rows_and_several_statements_in_one_text_are_part_of_it(world: World) -> None:
    rows = [(f"u{n}",) for n in range(400)]
    with world.replicator.transaction() as transaction:
        transaction.after_query(USER, rows, world.primary.run(USER, rows, many=True), many=True)
        text = "UPDATE users SET n = 1; DELETE FROM users WHERE name = 'u7';"
        world.primary.connection.executescript(text)
        transaction.after_query(text)
    fulfilled(transaction.replication)
    world.same()


def test_writes_keep_the_order_of_the_ends(world: World) -> None:
    """A transaction comes after what was written while it was open."""
    with world.replicator.transaction() as outer:
        outer.after_query(USER, ("third",))
        world.replicator.after_query(USER, ("first",))
        with world.replicator.transaction() as inner:
            inner.after_query(USER, ("second",))
    assert inner.replication is not None
    assert outer.replication is not None
    assert (inner.replication.seq, outer.replication.seq) == (2, 3)
    fulfilled(outer.replication)
    for process in world.replicas:
        rows = process.client().rows("SELECT name FROM users ORDER BY id")
        assert rows == [("first",), ("second",), ("third",)]


def test_a_large_one_arrives_whole(world: World) -> None:
    """More than one request can carry, large values among it."""
    with world.replicator.transaction() as transaction:
        for number in range(1_500):
            params = (number, "x" * (number % 200))
            transaction.after_query(ORDER, params, world.primary.run(ORDER, params))
        large = (1, bytes(range(256)) * 2_000)
        transaction.after_query(ORDER, large, world.primary.run(ORDER, large))
        sql = "UPDATE orders SET user = user + 1"
        transaction.after_query(sql, None, world.primary.run(sql))
    fulfilled(transaction.replication)
    world.same()


def test_one_parameter_that_cannot_be_sent_rejects_all_of_it(world: World) -> None:
    with world.replicator.transaction() as transaction:
        transaction.after_query(USER, ("good",))
        transaction.after_query(USER, (object(),))
        transaction.after_query(USER, ("good too",))
    for reason in rejected(transaction.replication).values():
        assert reason.startswith("parameters: ")
        assert "object" in reason
    world.same()


def test_a_statement_that_fails_there_is_named(world: World) -> None:
    """What came before it stays: StarbaseDB has no transaction to take it back."""
    with world.replicator.transaction() as transaction:
        transaction.after_query(USER, ("same",))
        transaction.after_query(USER, ("same",))
        transaction.after_query(USER, ("never",))
    later = world.replicator.after_query(USER, ("later",), 1)
    for reason in rejected(transaction.replication).values():
        assert reason.startswith("constraint: ")
        assert "statement 2" in reason
    fulfilled(later)
    for process in world.replicas:
        rows = process.client().rows("SELECT name FROM users ORDER BY id")
        assert rows == [("same",), ("later",)], process.name
        assert of(world.replicator, process.name).diverged
    letters = world.replicator.dead_letters()
    # Without the first one, which stays applied.
    assert [len(letter.statements) for letter in letters] == [2, 2]


def test_a_filter_takes_from_it_what_a_replica_does_not_get(world: World) -> None:
    first, second = world.replicas
    with connect(first, replica(second, tables=["orders"])) as replicator:
        with replicator.transaction() as transaction:
            transaction.after_query(USER, ("Ada",), 1)
            transaction.after_query(ORDER, (1, "book"), 1)
        outcomes = settled(transaction.replication)
        assert {outcome.status for outcome in outcomes.values()} == {"fulfilled"}
        assert {outcome.reason for outcome in outcomes.values()} == {None}
        with replicator.transaction() as transaction:
            transaction.after_query(USER, ("Eve",))
        assert set(settled(transaction.replication)) == {first.name}
    assert first.client().value("SELECT count(*) FROM users") == 2
    assert second.client().value("SELECT count(*) FROM users") == 0
    assert second.client().rows("SELECT what FROM orders") == [("book",)]


def test_wrong_use_is_a_type_error_and_nothing_is_sent(world: World) -> None:
    def wrong() -> None:
        with world.replicator.transaction() as transaction:
            transaction.after_query(USER, ("a",))
            transaction.after_query(5)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="sql must be a str"):
        wrong()
    assert world.replicator.stats().writes == 0


def test_after_the_close_it_is_rejected(world: World) -> None:
    with world.replicator.transaction() as transaction:
        transaction.after_query(USER, ("a",))
        world.replicator.close()
    for reason in rejected(transaction.replication).values():
        assert reason.startswith("closed: ")


def test_a_savepoint_rolled_back_takes_only_its_own_statements(world: World) -> None:
    transaction = world.replicator.transaction()
    transaction.after_query(USER, ("kept",), 1)
    mark = transaction.savepoint()
    transaction.after_query(USER, ("gone",), 1)
    transaction.after_query(USER, (object(),))
    assert len(transaction) == 3
    transaction.rollback_to(mark)
    transaction.after_query(USER, ("kept too",), 1)
    assert len(transaction) == 2
    fulfilled(transaction.commit())
    for process in world.replicas:
        rows = process.client().rows("SELECT name FROM users ORDER BY id")
        assert rows == [("kept",), ("kept too",)], process.name
    assert counted(world.replicator.stats().skipped) == {"dropped": 2}


def test_ended_by_hand_it_takes_nothing_more(world: World) -> None:
    transaction = world.replicator.transaction()
    assert transaction.commit() is None
    with pytest.raises(RuntimeError, match="has ended"):
        transaction.after_query(USER, ("a",))
    with pytest.raises(RuntimeError, match="has ended"):
        transaction.commit()
    with world.replicator.transaction() as dropped:
        dropped.after_query(USER, ("b",))
        dropped.rollback()
    assert dropped.replication is None
    assert world.replicator.stats().writes == 0
    with pytest.raises(ValueError, match="savepoint"):
        world.replicator.transaction().rollback_to(1)


def test_its_handle_names_the_position(world: World) -> None:
    replication = fulfilled_write(world)
    assert (replication.origin, replication.seq) == (world.replicator.origin, 1)


def fulfilled_write(world: World) -> Replication:
    replication = world.replicator.after_query(USER, ("a",), 1)
    fulfilled(replication)
    assert replication is not None
    return replication
