"""Values that are passed by hand arrive as `sqlite3` stored them, whatever adapters there are."""

from __future__ import annotations

import array
import ctypes
import datetime
import enum
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from afterquery import Replicator
from replication.world import Primary, assert_same, connect, fulfilled, peers, prepare, rejected
from support.peer import PeerProcess

SCHEMA = "CREATE TABLE v (id INTEGER PRIMARY KEY, x, i INTEGER, r REAL, t TEXT, n NUMERIC)"
INSERT = "INSERT INTO v (x, i, r, t, n) VALUES (?1, ?1, ?1, ?1, ?1)"


@dataclass
class World:
    primary: Primary
    peer: PeerProcess
    replicator: Replicator

    def run(self, sql: str, params: Any, *, many: bool = False) -> None:
        """Run it on the primary; the replica must then hold the same."""
        result = self.primary.run(sql, params, many=many)
        fulfilled(self.replicator.after_query(sql, params, result, many=many))

    def insert(self, value: Any) -> None:
        self.run(INSERT, (value,))
        self.run(INSERT, [(value,), [value]], many=True)

    def stored(self) -> list[Any]:
        assert_same(self.primary, self.peer)
        return [row[0] for row in self.primary.rows("SELECT x FROM v ORDER BY id")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("values")
    with Primary(folder / "primary.db", SCHEMA) as primary, peers(folder, 1) as (peer,):
        prepare(SCHEMA, peer)
        with connect(peer) as replicator:
            yield World(primary, peer, replicator)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.primary.run("DELETE FROM v")
    prepare("DELETE FROM v", shared.peer)
    adapters = dict(sqlite3.adapters)
    yield shared
    sqlite3.adapters.clear()
    sqlite3.adapters.update(adapters)


class Colour(enum.IntEnum):
    RED = 3


class Shown(str):
    """What its methods say is not what is in it."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shown"

    def encode(self, *_: Any, **__: Any) -> bytes:
        return b"encoded"

    def __len__(self) -> int:
        return 1


class Large(int):
    def __int__(self) -> int:
        return 99

    def __index__(self) -> int:
        return 98


class Rounded(float):
    def __float__(self) -> float:
        return 0.0


class Raw(bytes):
    def __bytes__(self) -> bytes:
        return b"other"


class Conforming:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __conform__(self, protocol: object) -> Any:
        return self.value if protocol is sqlite3.PrepareProtocol else None


class ConformingText(str):
    __slots__ = ()

    def __conform__(self, _: object) -> Any:
        return len(self)


class Unwilling(str):
    __slots__ = ()

    def __conform__(self, _: object) -> Any:
        raise TypeError("not this one")


def test_subclasses_and_buffers(world: World) -> None:
    values: list[Any] = [
        Colour.RED, Shown("inside"), Large(5), Rounded(1.5), Raw(b"raw"), Conforming("conformed"),
        Conforming(Colour.RED), Conforming(b"x"), ConformingText("four"),
        Unwilling("kept"), ctypes.c_int64(5), array.array("i", [1, 2]), memoryview(b"mv"),
        bytearray(b"ba"), memoryview(array.array("d", [1.5])), True, None,
        datetime.date(2024, 2, 29),
    ]  # fmt: skip
    for value in values[:-1]:
        world.insert(value)
    world.run(INSERT, (values[-1],))
    assert world.stored()[::3] == [
        3, "inside", 5, 1.5, b"raw", "conformed", 3, b"x", 4, "kept",
        (5).to_bytes(8, "little"), array.array("i", [1, 2]).tobytes(), b"mv", b"ba",
        array.array("d", [1.5]).tobytes(), 1, None, "2024-02-29",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "adapted"),
    [
        (bool, True, "yes"),
        (bytes, b"ab", "hex"),
        (str, " Mixed ", "mixed"),
        (int, 5, 1005),
        (float, 1.26, 1.3),
        (type(None), None, "nil"),
        (bytearray, bytearray(b"x"), b"ba"),
        (memoryview, memoryview(b"y"), 7),
        (bool, False, None),
        (str, "gone", None),
    ],
)
def test_adapters_of_basic_types_come_and_go(
    world: World, kind: type, value: Any, adapted: Any
) -> None:
    world.insert(value)
    sqlite3.register_adapter(kind, lambda _: adapted)
    world.insert(value)
    world.run("INSERT INTO v (x) VALUES (:x)", {"x": value})
    del sqlite3.adapters[(kind, sqlite3.PrepareProtocol)]
    # As many as before, and another one.
    sqlite3.register_adapter(frozenset, lambda _: "set")
    world.insert(value)
    stored = world.stored()
    assert stored[3:7] == [adapted] * 4
    assert stored[0] == stored[1] == stored[7] == stored[9]


def test_what_an_adapter_makes_is_not_adapted_again(world: World) -> None:
    sqlite3.register_adapter(Colour, lambda colour: int(colour) * 2)
    sqlite3.register_adapter(int, lambda number: number + 1000)
    world.insert(Colour.RED)
    world.insert(7)
    assert world.stored() == [6, 6, 6, 1007, 1007, 1007]


def test_an_adapter_of_a_date_of_the_users_own(world: World) -> None:
    sqlite3.register_adapter(datetime.date, lambda date: date.year)
    world.insert(datetime.date(2024, 2, 29))
    assert world.stored() == [2024] * 3


def test_an_adapted_now_is_a_now(world: World) -> None:
    class Moment(enum.Enum):
        NOW = "now"

    sqlite3.register_adapter(Moment, lambda moment: moment.value)
    sql = "INSERT INTO v (x) VALUES (datetime(?))"
    frozen, params = world.replicator.before_query(sql, (Moment.NOW,))
    assert frozen != sql
    world.run(frozen, params)
    world.stored()


def test_an_adapter_that_fails_now_is_told(world: World) -> None:
    class Once:
        calls = 0

        def __conform__(self, _: object) -> str:
            self.calls += 1
            if self.calls > 1:
                raise ValueError("only once")
            return "once"

    value = Once()
    result = world.primary.run(INSERT, (value,))
    why = rejected(world.replicator.after_query(INSERT, (value,), result))
    assert list(why.values()) == [
        "parameters: parameter 1 (Once) cannot be sent: ValueError: only once"
    ]


def test_rows_that_are_used_up_are_told(world: World) -> None:
    sql = "INSERT INTO v (x) VALUES (?)"
    rows = ((number,) for number in range(5))
    result = world.primary.run(sql, rows, many=True)
    for given in (result, 5, None):
        why = rejected(world.replicator.after_query(sql, rows, given, many=True))
        (reason,) = why.values()
        assert reason.startswith("parameters: with many=True, params holds no rows any more")
    assert list(rejected(world.replicator.after_query(sql, [], 5, many=True)))


def test_rows_that_are_none_are_none(world: World) -> None:
    sql = "INSERT INTO v (x) VALUES (?)"
    assert world.replicator.after_query(sql, [], None, many=True) is None
    assert world.replicator.after_query(sql, iter([]), 0, many=True) is None
    result = world.primary.run(sql, [(1,), (2,)], many=True)
    fulfilled(world.replicator.after_query(sql, iter([(1,), (2,)]), result, many=True))
    assert world.stored() == [1, 2]


def test_a_text_ends_at_its_nul(world: World) -> None:
    """As it does for SQLite, whatever the driver was given."""
    script = "INSERT INTO v (x) VALUES (1);INSERT INTO v (x) VALUES (2)\0;DELETE FROM v"
    world.primary.run("INSERT INTO v (x) VALUES (1), (2)")
    fulfilled(world.replicator.after_query(script))
    assert world.stored() == [1, 2]
    assert world.replicator.after_query("\0DELETE FROM v") is None
    why = rejected(world.replicator.after_query("INSERT INTO v (x) VALUES ('a\0b')"))
    assert list(why) == [world.peer.name]
    world.stored()


def test_an_interruption_while_values_are_read_is_not_swallowed(world: World) -> None:
    class Interrupted:
        calls = 0

        def __conform__(self, _: object) -> str:
            self.calls += 1
            if self.calls > 1:
                raise KeyboardInterrupt
            return "once"

    world.replicator.discard()
    value = Interrupted()
    result = world.primary.run(INSERT, (value,))
    with pytest.raises(KeyboardInterrupt):
        world.replicator.after_query(INSERT, (value,), result)
    with world.replicator.transaction() as transaction, pytest.raises(KeyboardInterrupt):
        transaction.after_query(INSERT, (value,), result)
    assert list(rejected(transaction.replication))
    assert len(world.replicator.dead_letters()) == 2
    assert world.replicator.discard() == 2


def test_numbered_parameters_of_a_mapping(world: World) -> None:
    """SQLite calls `?1` by its number; only a plain `?` has no name."""
    world.run("INSERT INTO v (x, t) VALUES (?2, ?1)", {"1": "one", "2": 2})
    assert world.stored() == [2]
