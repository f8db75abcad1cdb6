"""How an SQL error reads: `message: SQLITE_CODE`, always with status 500."""

from __future__ import annotations

import re

import pytest

from support.client import Client

SCHEMA = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 1, c CHECK (c > 0),"
    " p REFERENCES t (id));"
    "CREATE TABLE s (a INTEGER) STRICT;"
    "CREATE TABLE g (a, b AS (a));"
    "CREATE TRIGGER r BEFORE UPDATE ON g BEGIN SELECT RAISE(ABORT, 'not this'); END;"
    "INSERT INTO t (id, u) VALUES (1, 1); INSERT INTO g (a) VALUES (1)"
)

CASES = [
    ("INSERT INTO t (u) VALUES (1)", "UNIQUE constraint failed: t.u", "SQLITE_CONSTRAINT"),
    ("INSERT INTO t (id) VALUES (1)", "UNIQUE constraint failed: t.id", "SQLITE_CONSTRAINT"),
    ("INSERT INTO t (n) VALUES (NULL)", "NOT NULL constraint failed: t.n", "SQLITE_CONSTRAINT"),
    ("INSERT INTO t (c) VALUES (0)", "CHECK constraint failed: c > 0", "SQLITE_CONSTRAINT"),
    ("INSERT INTO t (p) VALUES (7)", "FOREIGN KEY constraint failed", "SQLITE_CONSTRAINT"),
    ("INSERT INTO s VALUES ('x')", "cannot store TEXT value in INTEGER", "SQLITE_CONSTRAINT"),
    ("UPDATE g SET a = 2", "not this", "SQLITE_CONSTRAINT"),
    ("INSERT INTO t (id) VALUES ('x')", "datatype mismatch", "SQLITE_MISMATCH"),
    ("INSERT INTO g (b) VALUES (1)", "cannot INSERT into generated column", "SQLITE_ERROR"),
    ("INSERT INTO nowhere VALUES (1)", "no such table: nowhere", "SQLITE_ERROR"),
    ("UPDATE t SET nope = 1", "no such column: nope", "SQLITE_ERROR"),
    ("SELECT nope()", "no such function: nope", "SQLITE_ERROR"),
    ("CREATE TABLE t (a)", "table t already exists", "SQLITE_ERROR"),
    ("NOT SQL", 'near "NOT": syntax error', "SQLITE_ERROR"),
    ("INSERT INTO", "incomplete input", "SQLITE_ERROR"),
    ("SELECT abs(-9223372036854775808)", "integer overflow", "SQLITE_ERROR"),
    ("SELECT json('{')", "malformed JSON", "SQLITE_ERROR"),
    ("CREATE TABLE sqlite_x (a)", "object name reserved for internal use", "SQLITE_ERROR"),
    ("UPDATE sqlite_master SET sql = ''", "table sqlite_master may not be mod", "SQLITE_ERROR"),
]


@pytest.mark.parametrize(("sql", "message", "code"), CASES)
def test_the_error_names_its_code(replica: Client, sql: str, message: str, code: str) -> None:
    replica.run(SCHEMA)
    answer = replica.query(sql)
    assert answer.status == 500
    assert answer.error.startswith(message)
    assert re.search(rf": {code}( \(extended: {code}_\w+\))?$", answer.error), answer.error


def test_the_extended_code_follows_where_there_is_one(replica: Client) -> None:
    replica.run(SCHEMA)
    answer = replica.query("INSERT INTO t (u) VALUES (1)")
    assert answer.error.endswith(": SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)")


def test_foreign_keys_are_on(replica: Client) -> None:
    assert replica.value("PRAGMA foreign_keys") == 1
    replica.run("CREATE TABLE p (id PRIMARY KEY); CREATE TABLE c (p REFERENCES p)")
    assert replica.query("INSERT INTO c VALUES (1)").status == 500


def test_raise_ignore_is_no_error(replica: Client) -> None:
    replica.run(
        "CREATE TABLE t (a); CREATE TRIGGER no BEFORE INSERT ON t"
        " BEGIN SELECT RAISE(IGNORE); END; INSERT INTO t VALUES (1)"
    )
    assert replica.value("SELECT count(*) FROM t") == 0


@pytest.mark.parametrize("params", [[], [1], [1, 2, 3]])
def test_the_number_of_parameters_must_fit(replica: Client, params: list[int]) -> None:
    answer = replica.query("SELECT ?, ?", params)
    assert (answer.status, answer.error) == (
        500,
        "Wrong number of parameter bindings for SQL query.",
    )


def test_parameters_bind_to_the_last_statement(replica: Client) -> None:
    replica.run("CREATE TABLE t (a)")
    replica.run("INSERT INTO t VALUES ('one'); INSERT INTO t VALUES (?)", ["two"])
    assert replica.rows("SELECT a FROM t") == [("one",), ("two",)]


def test_a_placeholder_in_another_statement_is_an_error(replica: Client) -> None:
    replica.run("CREATE TABLE t (a)")
    answer = replica.query("INSERT INTO t VALUES (?); INSERT INTO t VALUES ('two')", ["one"])
    assert answer.status == 500
    assert answer.error == (
        "When executing multiple SQL statements in a single call,"
        " only the last statement can have parameters."
    )
    assert replica.rows("SELECT a FROM t") == []
