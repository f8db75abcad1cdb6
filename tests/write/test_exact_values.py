"""Every value is on a replica what it is on the primary, to the last bit."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from afterquery import Replicator
from replication.world import (
    Primary,
    assert_same,
    both_engines,
    connect,
    fulfilled,
    prepare,
    reader,
)
from support.process import ReplicaProcess

pytestmark = pytest.mark.workerd

SCHEMA = "CREATE TABLE v (id INTEGER PRIMARY KEY, x)"
SEED = 20_240_229
BATCH = 500
WHOLE = 2_000_000
"""Text of 2 MB; a row has room for it and for its key."""

_JSON_REAL = "CASE WHEN x IN (9e999, -9e999) THEN x || '' ELSE x END"


@dataclass
class World:
    primary: Primary
    replicas: list[ReplicaProcess]
    replicator: Replicator

    def store(self, values: Sequence[object]) -> None:
        """One write with all of them."""
        sql, rows = "INSERT INTO v (x) VALUES (?)", [(value,) for value in values]
        result = self.primary.run(sql, rows, many=True)
        fulfilled(self.replicator.after_query(sql, rows, result, many=True))

    def same(self, sql: str, decode: Callable[[Any], Any] = lambda value: value) -> list[Any]:
        """The answer of a query of one column, which must be the same everywhere."""
        expected = [decode(value) for (value,) in self.primary.rows(sql)]
        for process in self.replicas:
            with reader(process) as read:
                found = [decode(value) for (value,) in read([sql])[0]]
            assert found == expected, process.name
        return expected


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("values")
    with (
        Primary(folder / "primary.db", SCHEMA) as primary,
        both_engines(Path(folder)) as replicas,
        connect(*replicas) as replicator,
    ):
        prepare(SCHEMA, *replicas)
        yield World(primary, replicas, replicator)


@pytest.fixture
def world(shared: World) -> World:
    shared.primary.run("DELETE FROM v")
    prepare("DELETE FROM v", *shared.replicas)
    return shared


@pytest.fixture
def chance() -> random.Random:
    print(f"seed {SEED}")
    return random.Random(SEED)


def in_batches(values: Sequence[object]) -> Iterator[Sequence[object]]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


def check(world: World, values: Sequence[object]) -> None:
    """Type and contents on both sides; reals by their bits, for SQLite's versions write them in
    different digits."""
    for batch in in_batches(values):
        world.store(batch)
    world.same("SELECT id || ' ' || typeof(x) FROM v ORDER BY id")
    world.same("SELECT quote(x) FROM v WHERE typeof(x) <> 'real' ORDER BY id")
    reals = world.same(f"SELECT {_JSON_REAL} FROM v WHERE typeof(x) = 'real' ORDER BY id", bits)
    assert len(world.same("SELECT count(*) FROM v WHERE x = 0.0 AND typeof(x) = 'real'")) == 1
    kinds = world.same("SELECT DISTINCT typeof(x) FROM v ORDER BY 1")
    assert bool(reals) == ("real" in kinds)
    assert_same(world.primary, *world.replicas)


def bits(value: float | str) -> bytes:
    """JSON knows no infinities, writes 5.0 as 5, and -0.0 as 0."""
    return struct.pack("<d", float(value) + 0.0)


def test_integers_of_all_64_bits(world: World, chance: random.Random) -> None:
    edges = [
        sign * 2**power + offset for power in range(63) for sign in (1, -1) for offset in (-1, 0, 1)
    ]
    anything = [chance.getrandbits(64) - 2**63 for _ in range(3_000)]
    short = [chance.getrandbits(chance.randrange(1, 63)) for _ in range(1_000)]
    check(world, [*edges, 2**63 - 1, -(2**63), *anything, *short])
    stored = world.same("SELECT CAST(x AS TEXT) FROM v ORDER BY id", int)
    assert stored == [*edges, 2**63 - 1, -(2**63), *anything, *short]


def test_reals_of_all_bits(world: World, chance: random.Random) -> None:
    patterns = [chance.getrandbits(64) for _ in range(4_000)]
    subnormal = [chance.getrandbits(52) | (chance.getrandbits(1) << 63) for _ in range(500)]
    powers = [exponent << 52 for exponent in range(0, 2047, 3)]
    neighbours = [pattern + step for pattern in powers[1:] for step in (-1, 1)]
    values = [from_bits(p) for p in (*patterns, *subnormal, *powers, *neighbours)]
    decimal = [
        float(f"{chance.randrange(10**17)}e{chance.randrange(-340, 300)}") for _ in range(1_000)
    ]
    extremes = [
        0.0,
        5e-324,
        1.7976931348623157e308,
        float("inf"),
        float("-inf"),
        2.0**53,
        1e22,
        1e23,
    ]
    everything = [*values, *decimal, *extremes]
    check(world, everything)
    expected = [bits(value) for value in everything if value == value]
    stored = world.primary.rows("SELECT x FROM v WHERE typeof(x) = 'real' ORDER BY id")
    assert [bits(value) for (value,) in stored] == expected


def from_bits(pattern: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", pattern))
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("pattern", [0x7FF8 << 48, 0xFFF8 << 48, (0x7FF << 52) | 1, 2**64 - 1])
def test_nan_is_null_as_in_sqlite(world: World, pattern: int) -> None:
    check(world, [from_bits(pattern)])
    assert world.same("SELECT typeof(x) FROM v") == ["null"]


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zero_has_the_sign_that_it_has_on_the_primary(world: World, zero: float) -> None:
    """Where it can be seen: JSON and printf() of older SQLites leave the sign out."""
    check(world, [zero])
    peer = world.replicas[0]
    with reader(peer) as read:
        found = [read(["SELECT x FROM v"])[0][0][0], world.primary.rows("SELECT x FROM v")[0][0]]
    assert [struct.pack("<d", value) for value in found] == [struct.pack("<d", zero)] * 2


def test_texts_of_all_of_unicode(world: World) -> None:
    """Every character there is, NUL among them, in texts of 4,096."""
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = ["".join(characters[at : at + 4096]) for at in range(0, len(characters), 4096)]
    for batch in (texts[at : at + 50] for at in range(0, len(texts), 50)):
        world.store(batch)
    stored = world.same("SELECT hex(x) FROM v ORDER BY id", bytes.fromhex)
    assert b"".join(stored).decode() == "".join(characters)
    assert world.same("SELECT DISTINCT typeof(x) FROM v") == ["text"]


def test_texts_that_look_like_something_else(world: World, chance: random.Random) -> None:
    pieces = [
        "'", "''", '"', "`", "[", "]", "\x00", "?", "?1", ":a", "@b", "$c", "--", "/*", "*/", ";",
        "\\", "\\u0027", "\n", "\r\n", "\t", "x'00'", "NULL", "random()", "é", "☃", "𝄞", "\ufeff",
        "\u2028", "\x1a", "\x7f", " ", "a", "1", "1e5", ")", "(", "%s", "{}", "||",
        "char(0)", "\ufffd",
    ]  # fmt: skip
    mixed = ["".join(chance.choices(pieces, k=chance.randrange(12))) for _ in range(3_000)]
    check(world, [*pieces, *mixed])
    stored = world.same("SELECT hex(x) FROM v ORDER BY id", bytes.fromhex)
    assert [text.decode() for text in stored] == [*pieces, *mixed]


def test_bytes(world: World, chance: random.Random) -> None:
    single = [bytes([byte]) for byte in range(256)]
    mixed = [chance.randbytes(chance.randrange(300)) for _ in range(1_500)]
    check(world, [b"", bytes(range(256)), *single, *mixed])
    stored = world.same("SELECT hex(x) FROM v ORDER BY id", bytes.fromhex)
    assert stored == [b"", bytes(range(256)), *single, *mixed]


LARGE: dict[str, Callable[[random.Random], str | bytes]] = {
    "quotes": lambda _: "'" * WHOLE,
    "nul": lambda _: "\x00" * WHOLE,
    "ascii": lambda chance: "".join(chance.choices("abc '\x00\"?-", k=WHOLE)),
    "astral": lambda _: "𝄞" * (WHOLE // 4),
    "bytes": lambda chance: chance.randbytes(WHOLE),
}


@pytest.mark.parametrize("kind", LARGE)
def test_two_megabytes(world: World, chance: random.Random, kind: str) -> None:
    value = LARGE[kind](chance)
    world.store([value])
    assert world.same("SELECT typeof(x) || length(CAST(x AS BLOB)) FROM v")[0].endswith(str(WHOLE))
    raw = value.encode() if isinstance(value, str) else value
    pieces = 8
    size = WHOLE // pieces
    for at in range(0, WHOLE, size):
        found = world.same(f"SELECT hex(substr(CAST(x AS BLOB), {at + 1}, {size})) FROM v")
        assert bytes.fromhex(found[0]) == raw[at : at + size]


PLACEHOLDERS = [
    # text, parameters, what it stores
    ("INSERT INTO v (x) VALUES ('? ?1 :a @a $a' || ?)", ("!",), "? ?1 :a @a $a!"),
    ("INSERT INTO v (x) VALUES (/* ? :a '?' */ ? -- ? '\n)", (1,), 1),
    ('INSERT INTO v (x) SELECT "a?b" FROM (SELECT ? AS "a?b")', (2,), 2),
    ("INSERT INTO v (x) SELECT [a?b] FROM (SELECT ? AS [a?b])", (3,), 3),
    ("INSERT INTO v (x) SELECT `:a``?` FROM (SELECT ? AS `:a``?`)", (4,), 4),
    ("INSERT INTO v (x) VALUES ('it''s ?' || ? || '''?')", ("-",), "it's ?-'?"),
    ("INSERT INTO v (x) VALUES (:a || ':a' || :a)", {"a": "'?'"}, "'?':a'?'"),
    ("INSERT INTO v (x) VALUES (?2 || '?1' || ?1)", ("one", "two"), "two?1one"),
    ("INSERT INTO v (x) VALUES ($a || '$a' || @b)", {"a": "$b", "b": "@a"}, "$b$a@a"),
    ("INSERT INTO v (x) VALUES (1 -- ?\n - ?)", (-5,), 6),
    ("INSERT INTO v (x) VALUES (1 - ?)", (-(2**63 - 1),), None),
    ("INSERT INTO v (x) VALUES (x'3f' || ?)", (None,), None),
    ("INSERT INTO v (x) VALUES ('\x01?' || ?)", ("\x01",), "\x01?\x01"),
]


@pytest.mark.parametrize(("sql", "params", "stored"), PLACEHOLDERS)
def test_what_is_no_placeholder(world: World, sql: str, params: Any, stored: object) -> None:
    fulfilled(world.replicator.after_query(sql, params, world.primary.run(sql, params)))
    assert_same(world.primary, *world.replicas)
    ((value,),) = world.primary.rows("SELECT x FROM v")
    if stored is not None:
        assert value == stored


def test_generated_texts_with_placeholders(world: World, chance: random.Random) -> None:
    """Strings, comments and names full of question marks around placeholders."""
    around = [
        "'?'",
        "':a'",
        "/* ? */ ''",
        "-- ? ' \n ''",
        "'''?'''",
        "'\"?'",
        "'/* ?'",
        "'--?'",
        "?",
    ]
    statements = []
    for _ in range(400):
        terms = chance.choices(around, k=chance.randrange(1, 8))
        sql = f"INSERT INTO v (x) VALUES ({' || '.join(terms)})"
        params = tuple(chance.choice(["?", "'", "--", 7, "☃"]) for term in terms if term == "?")
        statements.append((sql, params))
    with world.replicator.transaction() as tx:
        for sql, params in statements:
            tx.after_query(sql, params, world.primary.run(sql, params))
    fulfilled(tx.replication)
    assert_same(world.primary, *world.replicas)
