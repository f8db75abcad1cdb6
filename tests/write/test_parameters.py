"""Parameters of every type arrive exactly as the driver stores them, or are refused by name."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import math
import random
import sqlite3
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterquery import Replicator
from replication.world import (
    Primary,
    assert_same,
    both_engines,
    connect,
    fulfilled,
    prepare,
    reader,
    rejected,
)
from support.process import ReplicaProcess

pytestmark = pytest.mark.workerd

SCHEMA = """
CREATE TABLE v (id INTEGER PRIMARY KEY, x, i INTEGER, r REAL, t TEXT, b BLOB, n NUMERIC);
CREATE TABLE strict_v (id INTEGER PRIMARY KEY, x ANY, r REAL) STRICT;
"""

UTC = datetime.timezone.utc
NAIVE = datetime.datetime.fromisoformat("2024-02-29T13:05:59.123456")
CHUNK = 300_000
MEGABYTES = 1_500_000


@dataclass
class World:
    primary: Primary
    replicas: list[ReplicaProcess]
    replicator: Replicator

    def run(self, sql: str, params: Any, *, many: bool = False) -> None:
        """Run it on the primary; it must then be the same everywhere."""
        result = self.primary.run(sql, params, many=many)
        fulfilled(self.replicator.after_query(sql, params, result, many=many))
        assert_same(self.primary, *self.replicas)

    def stored(self) -> list[tuple[Any, ...]]:
        return self.primary.rows("SELECT x FROM v ORDER BY id")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("parameters")
    with (
        Primary(folder / "primary.db", SCHEMA) as primary,
        both_engines(folder) as replicas,
        connect(*replicas) as replicator,
    ):
        prepare(SCHEMA, *replicas)
        yield World(primary, replicas, replicator)


@pytest.fixture
def world(shared: World) -> World:
    _clean(shared)
    return shared


def _clean(world: World) -> None:
    world.primary.connection.executescript("DELETE FROM v; DELETE FROM strict_v")
    prepare("DELETE FROM v; DELETE FROM strict_v", *world.replicas)


class Colour(enum.IntEnum):
    RED = 7


class Word(str, enum.Enum):
    YES = "yes"


class Name(str):
    __slots__ = ()


class Count(int):
    pass


class Amount(float):
    pass


class Packed(bytes):
    __slots__ = ()


class Point:
    """A type that tells the driver by itself what it is."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __conform__(self, protocol: object) -> str | None:
        return f"{self.x};{self.y}" if protocol is sqlite3.PrepareProtocol else None


INTEGERS = [0, 1, -1, 2**31, -(2**31), 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
FLOATS = [
    0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 1e15, 1e16, 1e22, 123456789012345678.0, 1e-5, 1e-50, 1e-51,
    1e100, 1.1e100, 1e300, -1e300, 9.87654321e-300, 4.9e-324, -4.9e-324, 2.2250738585072014e-308,
    2.225073858507201e-308, 1.7976931348623157e308, -1.7976931348623157e308, 5e-324 * 12345,
    math.pi, math.e, math.inf, -math.inf, math.nan,
]  # fmt: skip
TEXTS = [
    "", " ", "it's", "''", '"', "`[]", "a\x00b", "\x00", "\x00'\x00", "a\\b\\n", "line\nline\r\n\t",
    "-- ?; /* :a", "é☃𝄞", "\u202e\ufeff", "\U0010ffff", "%s {0} $1 ?1", "5", "1e3", "NULL", "x'00'",
    "'; DROP TABLE v; --", "\x01\x1f\x7f\x80", "ends with backslash\\", "q" * 100_000, "'" * 40_000,
    "☃" * 33_000 + "\x00" + "é" * 5,
]  # fmt: skip
BLOBS = [b"", b"\x00", b"'", b"text", bytes(range(256)), random.Random(5).randbytes(70_000)]
OTHERS = [
    None, True, False, bytearray(b"\x00ba"), memoryview(b"\x01mv"), memoryview(b"abcdef")[1:3],
    array.array("b", [1, 2, 3]), Colour.RED, Word.YES, Name("named"), Count(5), Amount(2.5),
    Packed(b"p"), Point(3, -4), datetime.date(2024, 2, 29),
    NAIVE, NAIVE.replace(microsecond=0),
    datetime.datetime(2024, 1, 1, tzinfo=UTC),
    datetime.datetime(2024, 1, 1, 2, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=-5))),
]  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [INTEGERS, FLOATS, TEXTS, BLOBS, OTHERS],
    ids=["integers", "floats", "texts", "blobs", "others"],
)
def test_values_arrive_exactly(world: World, values: Sequence[Any]) -> None:
    """Each in a column without a type, in one of every type, and in one by name."""
    sql = "INSERT INTO v (x, i, r, t, b, n) VALUES (?1, ?1, ?1, ?1, ?1, ?1)"
    if values is FLOATS:
        # How a float looks as text differs between versions of SQLite.
        sql = sql.replace(" t,", "").replace(" ?1,", "", 1)
    for value in values:
        result = world.primary.run(sql, (value,))
        replication = world.replicator.after_query(sql, (value,), result)
        assert replication is not None
    for value in values:
        world.run("INSERT INTO strict_v (x) VALUES (:value)", {"value": value})


def test_a_negative_zero_keeps_its_sign(world: World) -> None:
    world.run("INSERT INTO v (x) VALUES (?)", (-0.0,))
    (peer, _) = world.replicas
    with reader(peer) as read:
        [[(stored,)]] = read(["SELECT x FROM v"])
    assert math.copysign(1, stored) == math.copysign(1, world.stored()[0][0])


def test_what_is_not_a_number_is_null(world: World) -> None:
    world.run("INSERT INTO v (x) VALUES (?)", (math.nan,))
    assert world.stored() == [(None,)]


def _pieces(read: Any, column: str) -> tuple[Any, list[Any]]:
    """A large value in pieces that any engine can say."""
    [[kind]] = read([f"SELECT typeof({column}), length(CAST({column} AS BLOB)) FROM v"])
    pieces = [
        f"SELECT hex(substr(CAST({column} AS BLOB), {start + 1}, {CHUNK})) FROM v"
        for start in range(0, kind[1], CHUNK)
    ]
    return kind, [rows for piece in pieces for rows in read([piece])]


@pytest.mark.parametrize(
    "value",
    [
        random.Random(1).randbytes(MEGABYTES),
        "".join(random.Random(2).choices("abc é☃𝄞'\"\n", k=MEGABYTES // 2)),
        "x" * MEGABYTES + "\x00" + "'" * 10,
        bytearray(random.Random(3).randbytes(400_000)),
    ],
    ids=["bytes", "text", "text with NUL", "bytearray"],
)
def test_values_too_large_for_one_request_arrive_whole(world: World, value: Any) -> None:
    for sql in ("INSERT INTO v (x) VALUES (?)", "UPDATE v SET x = x, t = 'after' WHERE x = ?"):
        result = world.primary.run(sql, (value,))
        fulfilled(world.replicator.after_query(sql, (value,), result))
    expected = _pieces(world.primary.read, "x")
    for process in world.replicas:
        with reader(process) as read:
            assert _pieces(read, "x") == expected, process.name
            assert read(["SELECT t FROM v"]) == [[("after",)]]
            # What they were carried in is gone.
            assert read(["SELECT count(*) FROM tmp_afterquery_value"]) == [[(0,)]]


def test_several_large_values_in_one_statement_and_one_write(world: World) -> None:
    rows = [(number, random.Random(number).randbytes(120_000), "é" * 60_000) for number in range(3)]
    world.run("INSERT INTO v (id, x, t) VALUES (?, ?, ?)", rows, many=True)


def test_a_text_too_large_for_a_replica_is_rejected_and_nothing_else(world: World) -> None:
    """What is no value cannot be sent ahead: a peer takes longer texts, up to a limit."""
    sql = f"UPDATE v /* {'x' * 5_000_000} */ SET x = x"
    for reason in rejected(world.replicator.after_query(sql)).values():
        assert reason.startswith("too_large: ")
    world.run("INSERT INTO v (x) VALUES (?)", ("next",))


class Named(NamedTuple):
    a: int
    b: str


class Pair:
    """A sequence to the driver, though it derives from none."""

    def __init__(self, *values: object) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, at: int) -> object:
        return self.values[at]


class Bag:
    """A mapping to the driver only if it is asked."""

    def keys(self) -> list[str]:
        return ["a", "b"]

    def __getitem__(self, name: str) -> object:
        return {"a": 1, "b": "two"}[name]


def _row(*values: object) -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        row = connection.execute("SELECT ? AS a, ? AS b", values).fetchone()
    finally:
        connection.close()
    assert isinstance(row, sqlite3.Row)
    return row


@pytest.mark.parametrize(
    "params",
    [
        (1, "two"),
        [1, "two"],
        _row(1, "two"),
        range(5, 7),
        collections.deque([1, "two"]),
        collections.UserList([1, "two"]),
        array.array("d", [1.5, 2.5]),
        Pair(1, "two"),
        "ab",
        b"ab",
        Named(1, "two"),
    ],
    ids=lambda params: type(params).__name__,
)
def test_every_sequence_that_the_driver_takes_is_taken(world: World, params: Any) -> None:
    world.run("INSERT INTO v (x, t) VALUES (?, ?)", params)


@pytest.mark.parametrize(
    "params",
    [
        {"a": 1, "b": "two"},
        {"a": 1, "b": "two", "unused": object()},
        collections.OrderedDict(b="two", a=1),
        collections.defaultdict[str, object](lambda: "default", a=1),
    ],
    ids=lambda params: type(params).__name__,
)
def test_every_mapping_that_the_driver_takes_is_taken(world: World, params: Any) -> None:
    world.run("INSERT INTO v (x, t) VALUES (:a, @b)", params)


def test_many_sets_are_one_write(world: World) -> None:
    sql = "INSERT INTO v (x, t) VALUES (?, ?)"
    rows = [(n, "t" * (n % 50)) for n in range(2_000)]
    before = world.replicator.stats().writes
    world.run(sql, rows, many=True)
    assert world.replicator.stats().writes == before + 1
    world.run(sql, [list(row) for row in rows[:10]], many=True)
    world.run("UPDATE v SET t = :t WHERE x = :x", [{"t": "n", "x": n} for n in range(9)], many=True)


def test_custom_adapters_are_used(world: World) -> None:
    sqlite3.register_adapter(decimal.Decimal, str)
    sqlite3.register_adapter(complex, lambda z: b"%d" % int(z.real))
    try:
        world.run("INSERT INTO v (x) VALUES (?)", (decimal.Decimal("1.10"),))
        world.run("INSERT INTO v (x) VALUES (?)", (3 + 4j,))
        assert world.stored() == [("1.10",), (b"3",)]
    finally:
        for adapted in (decimal.Decimal, complex):
            del sqlite3.adapters[adapted, sqlite3.PrepareProtocol]


def test_an_adapter_of_the_users_own_for_dates_is_used(world: World) -> None:
    key = (datetime.date, sqlite3.PrepareProtocol)
    default = sqlite3.adapters[key]
    sqlite3.register_adapter(datetime.date, lambda day: day.toordinal())
    try:
        world.run("INSERT INTO v (x) VALUES (?)", (datetime.date(2024, 1, 1),))
        assert world.stored() == [(datetime.date(2024, 1, 1).toordinal(),)]
    finally:
        sqlite3.adapters[key] = default


def test_dates_do_not_warn_a_second_time(world: World) -> None:
    """The driver has warned already, of the call that the user wrote."""
    sql = "INSERT INTO v (x, t) VALUES (?, ?)"
    params = (datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=UTC))
    world.primary.run(sql, params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replication = world.replicator.after_query(sql, params)
    assert [str(warning.message) for warning in caught] == []
    fulfilled(replication)
    assert_same(world.primary, *world.replicas)


class Broken:
    """Nothing of it works."""

    def __len__(self) -> int:
        raise ZeroDivisionError("len")

    def __getitem__(self, at: object) -> object:
        raise ZeroDivisionError("getitem")


class Liar(collections.UserList):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 2


class Stubborn:
    def __conform__(self, _: object) -> str:
        raise RuntimeError("conform")


class Plain(enum.Enum):
    A = 1


TWO = "INSERT INTO v (x, t) VALUES (?, ?)"
NAMED = "INSERT INTO v (x, t) VALUES (:first, :second)"


@pytest.mark.parametrize(
    ("sql", "params", "words"),
    [
        (TWO, (1, decimal.Decimal("1.5")), ["parameter 2", "Decimal"]),
        (NAMED, {"first": 1, "second": decimal.Decimal(1)}, [":second", "Decimal"]),
        (TWO, (object(), 1), ["parameter 1", "object"]),
        (TWO, (Plain.A, 1), ["parameter 1", "Plain"]),
        (TWO, ([1], 1), ["parameter 1", "list"]),
        (TWO, ({}, 1), ["parameter 1", "dict"]),
        (TWO, (1j, 1), ["parameter 1", "complex"]),
        (TWO, (Stubborn(), 1), ["parameter 1", "Stubborn"]),
        (TWO, (1, 2**63), ["parameter 2", "int", "64 bits"]),
        (TWO, (-(2**63) - 1, 1), ["parameter 1", "int", "64 bits"]),
        (NAMED, {"first": 2**70, "second": 1}, [":first", "int"]),
        (TWO, ("ok", "lone \ud800 surrogate"), ["parameter 2", "str", "surrogate"]),
        (TWO, (Count(2**64), 1), ["parameter 1", "Count"]),
        (TWO, (), ["2 parameters", "0 were given"]),
        (TWO, None, ["2 parameters", "0 were given"]),
        (TWO, (1,), ["2 parameters", "1 were given"]),
        (TWO, (1, 2, 3), ["2 parameters", "3 were given"]),
        ("UPDATE v SET x = 1", (1,), ["0 parameters", "1 were given"]),
        ("UPDATE v SET x = ?5", (1,), ["5 parameters", "1 were given"]),
        (NAMED, {"first": 1}, [":second", "not given"]),
        (NAMED, {}, [":first", "not given"]),
        (TWO, {"a": 1, "b": 2}, ["parameter 1", "mapping"]),
        (TWO, "abc", ["2 parameters", "3 were given"]),
        (TWO, 5, ["sequence", "mapping", "int"]),
        (TWO, {1, 2}, ["sequence", "mapping", "set"]),
        (TWO, Broken(), ["parameter"]),
        (TWO, Liar([1]), ["parameter 2"]),
        (NAMED, Bag(), ["parameter"]),
    ],
)
def test_what_cannot_be_sent_is_rejected_by_name(
    world: World, sql: str, params: Any, words: list[str]
) -> None:
    reasons = rejected(world.replicator.after_query(sql, params))
    assert set(reasons) == {"peer", "workerd"}
    for reason in reasons.values():
        assert reason.startswith("parameters: ")
        assert all(word in reason for word in words), reason
    world.run(TWO, (1, "the next write goes on"))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([(1, 2), (3, object())], ["row 2", "parameter 2", "object"]),
        ([(1, 2), (3,)], ["row 2", "2 parameters", "1 were given"]),
        (5, ["many=True", "list of parameter sets"]),
        (None, ["2 parameters", "0 were given"]),
        ([1, 2], ["row 1"]),
    ],
)
def test_what_cannot_be_sent_of_many_is_rejected_by_row(
    world: World, params: Any, words: list[str]
) -> None:
    for reason in rejected(world.replicator.after_query(TWO, params, many=True)).values():
        assert reason.startswith("parameters: ")
        assert all(word in reason for word in words), reason
    assert_same(world.primary, *world.replicas)


def test_parameters_are_read_before_after_query_returns(world: World) -> None:
    """The caller may use its list, and what is in it, again at once."""
    buffer, row = bytearray(b"first"), ["one", "x"]
    world.primary.run(TWO, (bytes(buffer), "b"))
    one = world.replicator.after_query(TWO, (buffer, "b"))
    buffer[:] = b"LATER"
    world.primary.run(TWO, list(row))
    two = world.replicator.after_query(TWO, row)
    row[0] = "changed"
    fulfilled(one)
    fulfilled(two)
    assert_same(world.primary, *world.replicas)


def test_nothing_is_kept_of_a_parameter(world: World) -> None:
    value = "a text that is not interned " * 3
    count = sys.getrefcount(value)
    world.run(TWO, (value, value))
    fulfilled(world.replicator.after_query("UPDATE v SET x = x WHERE t = ?", (value,)))
    assert sys.getrefcount(value) == count


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.booleans(),
    st.dates(),
    st.datetimes(),
)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30))
def test_any_values_arrive_exactly(shared: World, rows: list[tuple[Any, Any]]) -> None:
    _clean(shared)
    shared.run("INSERT INTO v (x, n) VALUES (?, ?)", rows, many=True)


def test_a_path_is_not_taken_for_text(world: World) -> None:
    """The driver refuses it, so no replica may store it."""
    with pytest.raises(sqlite3.Error):
        world.primary.run(TWO, (Path("a"), 1))
    reasons = rejected(world.replicator.after_query(TWO, (Path("a"), 1)))
    assert all("parameter 1" in reason and "Path" in reason for reason in reasons.values())
