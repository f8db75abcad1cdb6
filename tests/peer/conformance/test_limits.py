"""Where the storage engine draws its lines."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from support.client import Client

needs_setlimit = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python 3.10 cannot set SQLite's limits"
)


def text_of(size: int) -> str:
    frame = "SELECT length('') AS n"
    return frame.replace("''", f"'{'x' * (size - len(frame))}'")


def test_a_text_of_a_hundred_thousand_bytes_runs(replica: Client) -> None:
    assert len(text_of(100_000)) == 100_000
    assert replica.query(text_of(100_000)).status == 200


def test_a_longer_one_does_not(replica: Client) -> None:
    answer = replica.query(text_of(100_001))
    assert answer.status == 500
    assert answer.error.startswith("statement too long")
    assert answer.error.endswith(": SQLITE_TOOBIG")


def test_nothing_of_a_longer_one_is_applied(replica: Client) -> None:
    replica.run("CREATE TABLE t (a)")
    assert replica.query(f"INSERT INTO t VALUES (1);{text_of(99_990)}").status == 500
    assert replica.value("SELECT count(*) FROM t") == 0


def test_bytes_count_and_not_characters(replica: Client) -> None:
    assert replica.query(f"SELECT length('{'é' * 49_000}') AS n").result == [{"n": 49_000}]
    assert replica.query(f"SELECT length('{'é' * 50_000}') AS n").status == 500


def test_a_hundred_parameters(replica: Client) -> None:
    def ask(count: int) -> int:
        names = ",".join(["?"] * count)
        return replica.query(f"SELECT 1 IN ({names}) AS a", [1] * count).status

    assert ask(100) == 200
    assert ask(101) == 500


@needs_setlimit
@pytest.mark.parametrize(
    ("text", "most"),
    [
        (lambda n: f"CREATE TABLE t ({','.join(f'c{i}' for i in range(n))})", 100),
        (lambda n: f"SELECT {','.join(f'1 AS c{i}' for i in range(n))}", 100),
        (lambda n: " UNION ALL ".join(["SELECT 1 AS a"] * n), 5),
        (lambda n: f"SELECT 'a' LIKE '{'a' * n}' AS a", 50),
        (lambda n: f"SELECT 'a' GLOB '{'a' * n}' AS a", 50),
        (lambda n: f"SELECT {'+'.join(['1'] * n)} AS a", 100),
        (lambda n: f"SELECT max({','.join(['1'] * n)}) AS a", 127),
    ],
    ids=["columns", "result", "compound", "like", "glob", "depth", "arguments"],
)
def test_sizes_within_a_statement(replica: Client, text: Callable[[int], str], most: int) -> None:
    assert replica.query(text(most)).status == 200
    answer = replica.query(text(most + 1))
    assert answer.status == 500
    assert answer.error.endswith(": SQLITE_ERROR")


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT count(*) AS a FROM (VALUES {','.join(['(1)'] * 2_000)})",
        f"SELECT 1 IN ({','.join(['1'] * 5_000)}) AS a",
        f"SELECT {'(' * 60}1{')' * 60} AS a",
    ],
    ids=["rows", "in", "parentheses"],
)
def test_what_has_no_such_limit(replica: Client, sql: str) -> None:
    assert replica.query(sql).status == 200
