"""What `before_query` freezes is the same at any time, in any time zone and on any connection.

SQLite's clock is set by the tests: at the instant that was frozen, the original gives exactly what
the frozen text gives; at any other instant, the frozen text still does.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import itertools
import os
import random
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest

from afterquery import Replicator, classify

Rows = list[tuple[Any, ...]]

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c, p);
CREATE TABLE u (x);
INSERT INTO u VALUES ('2020-02-02'), (5), (NULL);
INSERT INTO t (a, b, c) VALUES (1, '2021-03-04 05:06:07', 'y'), (2, 2459000.5, 'x'), (3, NULL, '');
CREATE TABLE past (x INTEGER PRIMARY KEY);
"""

LONG_AGO, FAR_AHEAD = 951_782_399_123, 4_102_444_799_678
"""Instants on both sides of a leap day and of a century, in milliseconds since 1970."""

_JULIAN_EPOCH = 210_866_760_000_000

_TickType = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64))


class _Vfs(ctypes.Structure):
    """<https://sqlite.org/c3ref/vfs.html>"""

    _fields_ = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("max_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("methods", ctypes.c_void_p * 12),
        ("current_time", _TickType),
    ]


class Clock:
    """SQLite's clock, as long as it is held."""

    def __init__(self, vfs: _Vfs) -> None:
        self.now = LONG_AGO
        self._vfs = vfs
        self._original = ctypes.cast(vfs.current_time, ctypes.c_void_p)
        self._tick = _TickType(self._tell)

    def _tell(self, _: object, out: Any) -> int:
        out[0] = self.now + _JULIAN_EPOCH
        return 0

    def __enter__(self) -> Clock:
        self._vfs.current_time = self._tick
        return self

    def __exit__(self, *_: object) -> None:
        self._vfs.current_time = ctypes.cast(self._original, _TickType)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    try:
        library = ctypes.CDLL(_sqlite3.__file__)
        find = library.sqlite3_vfs_find
    except (AttributeError, OSError):
        pytest.skip("NOT TESTED: this Python has SQLite built in, so that its clock cannot be set")
    find.restype = ctypes.POINTER(_Vfs)
    with Clock(find(None).contents) as held, closing(sqlite3.connect(":memory:")) as connection:
        told = connection.execute("SELECT strftime('%s.%f', 'now')").fetchone()
        assert told == ("951782399.59.123",)
        yield held


@pytest.fixture(scope="module")
def replicator() -> Iterator[Replicator]:
    """One that reaches nobody: what it says of a statement is all that is wanted."""
    replicator = Replicator(["http://127.0.0.1:9"], auth_token="none", retry_base=10.0)
    yield replicator
    replicator.close(timeout=0)


@pytest.fixture(params=["UTC", "XYZ-5:30", "EST5EDT", "ABC11:45"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    with time_zone(request.param):
        yield request.param


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@dataclass
class Side:
    """A database whose connection has a past of its own."""

    past: int
    connection: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.connection.executemany(
            "INSERT INTO past VALUES (?)", [(self.past + n,) for n in range(self.past % 7 + 1)]
        )

    def known(self) -> dict[str, int]:
        """What `before_query` can be told about the connection."""
        names = ("last_insert_rowid", "changes", "total_changes")
        values = self.connection.execute("SELECT " + ", ".join(f"{n}()" for n in names)).fetchone()
        return dict(zip(names, values, strict=True))

    def run(self, sql: str, params: Any = ()) -> Rows:
        """Every row that the statement leaves, with its types, and those that it returns."""
        returned = self.connection.execute(sql, params).fetchall()
        stored = "id, typeof(a), a, typeof(b), b, typeof(c), c, typeof(p), p"
        rows = self.connection.execute(f"SELECT {stored} FROM t ORDER BY id").fetchall()
        return [*rows, *returned]


def outcome(past: int, sql: str, params: Any = ()) -> Rows | None:
    """None where SQLite refuses it."""
    side = Side(past)
    with closing(side.connection):
        try:
            return side.run(sql, params)
        except (sqlite3.Error, sqlite3.Warning, OverflowError):
            return None


def frozen_for(
    replicator: Replicator, past: int, sql: str, params: Any = ()
) -> tuple[str, dict[str, int]]:
    """The text to run on both sides; the parameters must be the same objects."""
    side = Side(past)
    with closing(side.connection):
        known = side.known()
    frozen, same = replicator.before_query(sql, params, **known)
    assert same is params
    return frozen, known


def is_flagged(replicator: Replicator, sql: str, params: Any) -> bool:
    """Whether the replicator says that it may differ."""
    before = replicator.stats().nondeterministic
    replicator.after_query(sql, params)
    return replicator.stats().nondeterministic > before


def instant_of(frozen: str) -> int:
    """The milliseconds that a frozen text holds, wherever it has all of them."""
    found = re.search(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})2'", frozen)
    assert found, frozen
    at = datetime.strptime(found[1] + "+0000", "%Y-%m-%d %H:%M:%S.%f%z")
    return round((at - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds() * 1000)


MODIFIERS = [
    "", "'subsec'", "'+1 day'", "'-3 months'", "'start of day'", "'start of month'", "'weekday 0'",
    "'+1.5 seconds'", "'-90 minutes'", "'auto'", "'12:30'", "'+1 year'", "'unixepoch'",
    "'julianday'", "'start of year', '+1 month'", "'-1 day', 'weekday 3', 'start of day'",
]  # fmt: skip
LOCAL = ["", "'localtime'", "'subsec', 'localtime'"]
FUNCTIONS = ["date", "TIME", "datetime", "julianday", "unixepoch", "strftime", "timediff"]
FORMATS = ["%Y-%m-%d %H:%M:%f", "%s", "%J", "%j %w %W", "%H:%M:%S %% %m"]
SHORT = [
    "CURRENT_TIMESTAMP", "current_date", "CURRENT_TIME", "date()", "time()", "datetime ( )",
    "julianday()", "unixepoch()", "strftime('%f')", "strftime('%J')", "datetime('subsec')",
    "unixepoch('subsecond')", "time('subsec', '+1 hour')", "timediff('now', '2020-01-01')",
    "timediff('2020-01-01', 'now')", "datetime(CURRENT_TIMESTAMP, '+1 day')", "\"date\"('now')",
    "julianday('now') - julianday('now')", "1||CURRENT_TIMESTAMP||2", "-julianday('now')",
    "date(/* now */ 'now' -- 'now'\n)", "coalesce(NULL, time('now'))",
    "date(date('now'), '+1 day')",
    "CASE WHEN julianday() > 0 THEN 'now' ELSE 'never' END", "(SELECT datetime('now'))",
]  # fmt: skip
PAST = ["last_insert_rowid()", "changes()", "total_changes()", "changes ( ) + total_changes()"]
CHANCE = ["random()", "RANDOM ( )", "abs(random() % 7)", "randomblob(3)", "hex(randomblob(16))"]
BOUND = ["now", "NOW", b"now", "localtime", "utc", "subsec", "2020-01-01", 2459000.5, 5, None, "x"]


def calls() -> list[str]:
    """Every date function of 'now', with every modifier, in local time too."""
    found = []
    for function, modifier, local in itertools.product(FUNCTIONS, MODIFIERS, LOCAL):
        rest = "".join(f", {part}" for part in (local, modifier) if part)
        if function == "timediff":
            found.append(f"timediff('now', datetime('now'{rest}))")
        elif function == "strftime":
            found += [f"strftime('{shape}', 'now'{rest})" for shape in FORMATS]
        else:
            found.append(f"{function}('now'{rest})")
    return found


POSITIONS = [
    "INSERT INTO t (a, p) VALUES ({0}, julianday('now'))",
    "INSERT INTO t (a, b, p) VALUES (1, {0}, 2), ({0}, 3, julianday('now'))",
    "UPDATE t SET a = {0}, p = julianday('now') WHERE id <> 2",
    "DELETE FROM t WHERE a < {0} OR julianday('now') < 5",
    "INSERT INTO t (a, b, p) SELECT {0}, x, julianday('now') FROM u ORDER BY x",
    "INSERT INTO t (id, a) VALUES (1, 2) ON CONFLICT DO UPDATE SET b = {0}, p = julianday('now')",
    "REPLACE INTO t (id, a, b, p) VALUES (2, {0}, {0}, julianday('now')) RETURNING a, b",
    "WITH w (q) AS (SELECT {0}) INSERT INTO t (a, p) SELECT q, julianday('now') FROM w ORDER BY 1",
    "UPDATE t SET (a, b) = ({0}, {0}), p = julianday('now') FROM u WHERE u.x = 5 AND t.id = 1",
    "UPDATE t SET p = julianday('now') WHERE id = (SELECT count(*) FROM u WHERE {0} IS NOT NULL)",
]


def proves(clock: Clock, replicator: Replicator, sql: str, params: Any = ()) -> bool:
    """What is frozen and not flagged gives the same at all times, and what the original gave.

    False where it is flagged, or where this SQLite refuses the statement.
    """
    frozen, known = frozen_for(replicator, 1_000, sql, params)
    clock.now = instant_of(frozen)
    original = outcome(1_000, sql, params)
    told = (sql, params, frozen, known)
    if is_flagged(replicator, frozen, params):
        return False
    assert outcome(1_000, frozen, params) == original, told
    for clock.now, past in ((LONG_AGO, 1_000), (FAR_AHEAD, 2_003)):
        assert outcome(past, frozen, params) == original, told
    return original is not None


def test_every_call_of_the_clock(clock: Clock, replicator: Replicator, zone: str) -> None:
    calls_here = [*SHORT, *calls()]
    accepted = 0
    for index, call in enumerate(calls_here):
        sql = POSITIONS[index % len(POSITIONS)].format(call)
        accepted += proves(clock, replicator, sql)
    print(f"{zone}: {accepted} of {len(calls_here)} accepted")
    assert accepted > 350


@pytest.mark.parametrize("position", POSITIONS)
def test_every_position(clock: Clock, replicator: Replicator, position: str) -> None:
    for call in [*SHORT, *PAST]:
        proves(clock, replicator, position.format(call))


@pytest.mark.parametrize("call", ["date('now')", "datetime('now', 'localtime', '+1 day')", *SHORT])
def test_nothing_of_the_clock_is_left_to_report(replicator: Replicator, call: str) -> None:
    for position in POSITIONS:
        sql = position.format(call)
        assert is_flagged(replicator, sql, ())
        frozen, _ = replicator.before_query(sql, ())
        assert not is_flagged(replicator, frozen, ()), frozen
        assert classify(frozen).statements[0].deterministic
        assert replicator.before_query(frozen, ())[0] is frozen


@pytest.mark.parametrize("function", ["date", "time", "datetime", "julianday"])
@pytest.mark.parametrize("now", ["now", "NOW", b"now"])
def test_a_bound_now(clock: Clock, replicator: Replicator, function: str, now: object) -> None:
    sql = f"UPDATE t SET a = {function}(?), b = {function}(?, ?), p = julianday('now')"
    params = (now, now, "+1 day")
    frozen, _ = replicator.before_query(sql, params)
    assert not is_flagged(replicator, frozen, params), frozen
    assert replicator.before_query(frozen, params)[0] is frozen
    assert proves(clock, replicator, sql, params)


def test_a_bound_now_by_name_and_number(clock: Clock, replicator: Replicator) -> None:
    for sql, params in [
        (
            "UPDATE t SET a = date(:day, :more), p = julianday('now')",
            {"day": "now", "more": "5 day"},
        ),
        ("UPDATE t SET a = ?2, b = date(?1), p = julianday('now')", ("now", "now")),
        ("UPDATE t SET a = date(@a), b = date($b), p = julianday('now')", {"a": "now", "b": 5}),
    ]:
        frozen, same = replicator.before_query(sql, params)
        assert same is params
        assert not is_flagged(replicator, frozen, params), frozen
        assert proves(clock, replicator, sql, params)


def test_generated_statements(clock: Clock, replicator: Replicator) -> None:
    """No difference is left untold: neither in a text as it is, nor in a frozen one."""
    seed = 20_240_229
    chance = random.Random(seed)
    cases = 3_000
    accepted = differing = 0
    for number in range(cases):
        sql, params = generated(chance)
        place = f"seed {seed}, case {number}: {sql!r} with {params!r}"
        clock.now = LONG_AGO
        first = outcome(1_000, sql, params)
        clock.now = FAR_AHEAD
        second = outcome(2_003, sql, params)
        if first is None:
            continue
        accepted += 1
        differing += first != second
        flagged = is_flagged(replicator, sql, params)
        assert flagged or first == second, place
        assert flagged <= (not classify(sql).statements[0].deterministic), place
        check_frozen(clock, replicator, sql, params, place)
    print(f"seed {seed}: {accepted} of {cases} accepted, {differing} differ as they are")
    assert accepted > cases / 2
    assert differing > cases / 4


def check_frozen(clock: Clock, replicator: Replicator, sql: str, params: Any, place: str) -> None:
    frozen, _ = frozen_for(replicator, 1_000, sql, params)
    if frozen == sql:
        assert frozen is sql
    if is_flagged(replicator, frozen, params):
        return
    clock.now = LONG_AGO
    first = outcome(1_000, frozen, params)
    clock.now = FAR_AHEAD
    assert outcome(2_003, frozen, params) == first, f"{place}: {frozen!r}"


def generated(chance: random.Random) -> tuple[str, tuple[object, ...]]:
    sql = chance.choice(FORMS)
    while "{}" in sql:
        sql = sql.replace("{}", expression(chance), 1)
    count = sql.count("?")
    return sql, tuple(chance.choice(BOUND) for _ in range(count))


EXPRESSIONS = [
    "1", "'x'", "a", "b", "?", "upper('q')", "(SELECT max(x) FROM u)", "(SELECT random())",
    "datetime(b)", "datetime(b, 'localtime')", "date(b, 'utc')", "julianday(?)", "datetime(b, ?)",
    "strftime(?, b)", "julianday(coalesce(?, 'now'))", "hex(randomblob(?))", "date('now', ?)",
    "datetime('now', 'utc')", "datetime('now', '+1 day', 'localtime')",
    "coalesce(NULL, random())", "time(a, 'subsec')", "'random()'", "\"b\"", "'now'",
    "date(\"now\")",
    "unixepoch(coalesce(b, 'now'))", "max(random(), 1)", "datetime(?, 'localtime')",
]  # fmt: skip
FORMS = [
    "INSERT INTO t (a, b) VALUES ({}, {})",
    "INSERT INTO t (a, b) VALUES ({}, 1), ({}, {})",
    "UPDATE t SET a = {}, b = {} WHERE id <> 2",
    "DELETE FROM t WHERE a > {} OR b = {}",
    "INSERT INTO t (a, b) SELECT {}, x FROM u ORDER BY x",
    "INSERT INTO t (a, b) SELECT {}, x FROM u ORDER BY {}",
    "INSERT INTO t (id, a) VALUES (1, {}) ON CONFLICT DO UPDATE SET b = {}, c = excluded.a",
    "REPLACE INTO t (id, a, b) VALUES (2, {}, {}) RETURNING a, b",
    "WITH w (p, q) AS (SELECT {}, {}) INSERT INTO t (a, b) SELECT p, q FROM w, t ORDER BY id",
    "UPDATE t SET a = {} FROM u WHERE u.x = 5 AND t.id = 1",
]


def expression(chance: random.Random) -> str:
    def one() -> str:
        return chance.choice(chance.choice((EXPRESSIONS, SHORT, PAST, CHANCE, BASIC)))

    if chance.random() < 0.25:
        return f"{one()}{chance.choice(['||', '+', '-', ' IS ', '/**/||'])}{one()}"
    return one()


BASIC = calls()


@pytest.mark.parametrize("call", [*SHORT, *CHANCE])
def test_what_returning_gives_is_the_applications_own(replicator: Replicator, call: str) -> None:
    """It is not sent; and its columns take their names from its text."""
    sql = f"INSERT INTO t (a) VALUES (1) RETURNING a, {call}"
    assert replicator.before_query(sql)[0] is sql
    assert not is_flagged(replicator, sql, ())
    frozen, _ = replicator.before_query(f"INSERT INTO t (a) VALUES (date()) RETURNING {call}")
    assert frozen.endswith(f" RETURNING {call}")


@pytest.mark.parametrize("call", CHANCE)
def test_chance_keeps_its_shape(replicator: Replicator, call: str) -> None:
    """It is drawn once, is of the same type and size, and each call has a value of its own."""
    sql = f"INSERT INTO t (a, b) VALUES ({call}, {call}), ({call}, 4)"
    frozen, _ = replicator.before_query(sql)
    assert not is_flagged(replicator, frozen, ())
    assert outcome(5, frozen) == outcome(6, frozen)
    kind = "SELECT typeof({0}), CASE typeof({0}) WHEN 'integer' THEN 0 ELSE length({0}) END"
    with closing(sqlite3.connect(":memory:")) as connection:
        expected = connection.execute(kind.format(call)).fetchone()
        drawn = [row[1:3] for row in outcome(5, frozen) or ()][-2:]
        for _, value in drawn:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS v (x)")
            connection.execute("DELETE FROM v")
            connection.execute("INSERT INTO v VALUES (?)", (value,))
            assert connection.execute(kind.format("x") + " FROM v").fetchone() == expected
    if "%" not in call:
        assert drawn[0] != drawn[1]


def test_chance_covers_the_range(replicator: Replicator) -> None:
    values = ", ".join(["(random(), randomblob(1))"] * 200)
    frozen, _ = replicator.before_query(f"INSERT INTO t (a, b) VALUES {values}")
    rows = (outcome(1, frozen) or [])[3:]
    numbers, blobs = [row[2] for row in rows], [row[4] for row in rows]
    assert len(set(numbers)) == 200
    assert min(numbers) < -(2**61)
    assert max(numbers) > 2**61
    assert len(set(blobs)) > 50


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET a = random()",
        "UPDATE t SET a = 5, b = hex(randomblob(4)) WHERE id > 0",
        "INSERT INTO t (a) SELECT random() FROM u ORDER BY x",
        "INSERT INTO t (a) VALUES ((SELECT max(random()) FROM u))",
        "DELETE FROM t WHERE random() > 0",
        "INSERT INTO t (id) VALUES (1) ON CONFLICT DO UPDATE SET a = random()",
        "WITH w AS (SELECT random() AS r FROM u) INSERT INTO t (a) SELECT r FROM w ORDER BY 1",
    ],
)
def test_chance_by_row_stays_and_is_told(replicator: Replicator, sql: str) -> None:
    params = ()
    frozen, same = replicator.before_query(sql, params)
    assert frozen is sql
    assert same is params
    assert is_flagged(replicator, sql, params)
    (statement,) = classify(sql).statements
    assert statement.reasons[0] == "calls random() or randomblob()"


def test_rows_of_one_statement_have_values_of_their_own(replicator: Replicator) -> None:
    frozen, _ = replicator.before_query("UPDATE t SET a = random(), b = datetime('now')")
    assert "random()" in frozen
    assert "'now'" not in frozen
    rows = outcome(1, frozen) or []
    assert len({row[2] for row in rows}) == 3
    assert len({row[4] for row in rows}) == 1


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("INSERT INTO t VALUES (?, ?)", (1, 2)),
        ("SELECT random(), datetime('now')", ()),
        ("UPDATE t SET a = 'now', b = 'random()' -- random()", []),
        ("UPDATE t SET a = date(?)", ("2020-01-01",)),
        ("PRAGMA optimize", ()),
        ("BEGIN", None),
        ("CREATE TABLE x (a DEFAULT CURRENT_TIMESTAMP)", {"a": 1}),
        ("not sql at all random()", object()),
        ("UPDATE t SET a = my_own(b)", ()),
        ("\ud800 random()", ()),
        ("", ()),
    ],
)
def test_what_changes_nothing_gives_back_the_same_objects(
    replicator: Replicator, sql: str, params: object
) -> None:
    found = replicator.before_query(sql, params)
    assert found[0] is sql
    assert found[1] is params


def test_params_may_be_left_out(replicator: Replicator) -> None:
    assert replicator.before_query("INSERT INTO t VALUES (1)") == ("INSERT INTO t VALUES (1)", None)


@pytest.mark.parametrize("sql", [b"SELECT 1", None, 5])
def test_a_text_must_be_a_str(replicator: Replicator, sql: Any) -> None:
    with pytest.raises(TypeError, match="sql must be a str"):
        replicator.before_query(sql, ())


class Strange:
    """Parameters that fail when they are looked at."""

    def __getitem__(self, _: object) -> object:
        raise RuntimeError("do not look")


def test_params_that_cannot_be_read_are_passed_on(replicator: Replicator) -> None:
    params = Strange()
    frozen, same = replicator.before_query("UPDATE t SET a = date(?), b = date('now')", params)
    assert same is params
    assert "'now'" not in frozen


def test_what_the_connection_knows(replicator: Replicator) -> None:
    sql = "UPDATE t SET a = last_insert_rowid(), b = changes(), c = total_changes()"
    nothing, _ = replicator.before_query(sql)
    assert nothing is sql
    assert is_flagged(replicator, sql, ())
    some, _ = replicator.before_query(sql, last_insert_rowid=-5)
    assert "last_insert_rowid" not in some
    assert "total_changes()" in some
    assert is_flagged(replicator, some, ())
    whole, _ = replicator.before_query(
        sql, last_insert_rowid=-(2**63), changes=2**63 - 1, total_changes=0
    )
    assert not is_flagged(replicator, whole, ())
    assert {row[2::2][:3] for row in outcome(3, whole) or ()} == {(-(2**63), 2**63 - 1, 0)}


def test_last_insert_rowid_moves_within_an_insert(replicator: Replicator) -> None:
    sql = "INSERT INTO t (a) VALUES (last_insert_rowid()), (last_insert_rowid())"
    frozen, _ = replicator.before_query(sql, last_insert_rowid=7)
    assert is_flagged(replicator, frozen, ())
    assert outcome(3, frozen) == outcome(3, sql)


def test_one_statement_sees_one_instant(replicator: Replicator) -> None:
    calls_here = ", ".join(["strftime('%J %f', 'now')"] * 50)
    frozen, _ = replicator.before_query(f"UPDATE t SET a = json_array({calls_here})")
    assert len(set(re.findall(r"'[\d. :-]{20,}'", frozen))) == 1


def test_the_instant_is_that_of_the_call(replicator: Replicator) -> None:
    before = time.time_ns() // 1_000_000
    frozen, _ = replicator.before_query("UPDATE t SET a = julianday('now')")
    assert before <= instant_of(frozen) <= time.time_ns() // 1_000_000


def test_a_long_text_takes_linear_time(replicator: Replicator) -> None:
    rows = ", ".join(["(random(), datetime('now'), randomblob(8))"] * 20_000)
    began = time.monotonic()
    frozen, _ = replicator.before_query(f"INSERT INTO t (a, b, c) VALUES {rows}")
    assert "'now'" not in frozen
    assert time.monotonic() - began < 5
