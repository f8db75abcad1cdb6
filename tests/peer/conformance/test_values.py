"""What becomes of values on their way in and out."""

from __future__ import annotations

import json
import math

import pytest

from support.client import Client


@pytest.mark.parametrize(
    ("param", "type_", "text"),
    [
        (5, "real", "5.0"),
        (-1, "real", "-1.0"),
        (2.5, "real", "2.5"),
        (True, "text", "true"),
        (False, "text", "false"),
        ("x", "text", "x"),
        ("", "text", ""),
        ("é😀", "text", "é😀"),
        ("a\0b", "text", "a\0b"),
        (None, "null", None),
    ],
)
def test_what_a_parameter_becomes(
    replica: Client, param: object, type_: str, text: str | None
) -> None:
    replica.run("CREATE TABLE t (a, b TEXT)")
    replica.run("INSERT INTO t VALUES (?1, ?1)", [param])
    ((found, stored),) = replica.rows("SELECT typeof(a), b FROM t")
    assert found == type_
    assert stored == text


def test_an_integer_above_2_to_the_53_loses_digits(replica: Client) -> None:
    replica.run("CREATE TABLE t (a INTEGER)")
    replica.run("INSERT INTO t VALUES (?)", [2**53 + 1])
    assert replica.value("SELECT CAST(a AS TEXT) FROM t") == str(2**53)


def test_an_integer_column_takes_the_real_back_to_an_integer(replica: Client) -> None:
    replica.run("CREATE TABLE t (i INTEGER, r REAL, n, b BLOB)")
    replica.run("INSERT INTO t VALUES (?1, ?1, ?1, ?1)", [5])
    assert replica.rows("SELECT typeof(i), typeof(r), typeof(n), typeof(b) FROM t") == [
        ("integer", "real", "real", "real")
    ]
    assert replica.query("SELECT ?1 / 2 AS half", [5]).result == [{"half": 2.5}]


@pytest.mark.parametrize(
    "value", [0.1, 1 / 3, 1e-300, 5e-324, 1.7976931348623157e308, -2.2250738585072014e-308]
)
def test_a_float_parameter_is_exact(replica: Client, value: float) -> None:
    replica.run("CREATE TABLE t (a)")
    replica.run("INSERT INTO t VALUES (?)", [value])
    assert replica.value("SELECT a FROM t") == value


def test_a_parameter_that_is_too_large_for_a_float_is_infinite(replica: Client) -> None:
    answer = replica.send('{"sql": "SELECT ?1 > 1e308 AS big, ?1 AS value", "params": [1e999]}')
    assert answer.result == [{"big": 1, "value": None}]


@pytest.mark.parametrize(
    "literal",
    ["9223372036854775807", "-9223372036854775808", "9007199254740993", "x'00ff'", "'a''b;é'"],
)
def test_integer_text_and_blob_literals_are_exact(replica: Client, literal: str) -> None:
    replica.run(f"CREATE TABLE t (a); INSERT INTO t VALUES ({literal})")
    assert replica.value(f"SELECT a IS {literal} AND quote(a) IS quote({literal}) FROM t") == 1


@pytest.mark.parametrize("value", [0.1, 1 / 3, 123456.789e-40, 9.87654321e99, 1e-50])
def test_float_literals_are_exact_in_the_middle(replica: Client, value: float) -> None:
    replica.run(f"CREATE TABLE t (a); INSERT INTO t VALUES ({value!r})")
    assert replica.value("SELECT a FROM t") == value


@pytest.mark.parametrize("literal", ["9e999", "-9e999"])
def test_infinity_can_be_written_and_reads_as_null(replica: Client, literal: str) -> None:
    replica.run(f"CREATE TABLE t (a); INSERT INTO t VALUES ({literal})")
    assert replica.rows("SELECT a, typeof(a), abs(a) > 1e308 FROM t") == [(None, "real", 1)]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1", 1),
        ("2.5", 2.5),
        ("'x'", "x"),
        ("NULL", None),
        ("x'00ff'", {}),
        ("x''", {}),
        ("9007199254740992", 2**53),
        ("9007199254740993", 2**53),
        ("char(0) || 'x'", "\0x"),
        ("CAST(x'ff41' AS TEXT)", "\ufffdA"),
    ],
)
def test_what_a_result_becomes(replica: Client, expression: str, value: object) -> None:
    assert replica.value(f"SELECT {expression} AS a") == value


def test_a_large_integer_reads_as_the_nearest_double(replica: Client) -> None:
    assert float(replica.value("SELECT 9223372036854775807 AS a")) == 2.0**63


@pytest.mark.parametrize(("real", "text"), [("5.0", "5"), ("-0.0", "0"), ("0.5", "0.5")])
def test_a_whole_real_reads_as_an_integer(replica: Client, real: str, text: str) -> None:
    assert replica.query(f"SELECT {real} AS a").body == f'{{"result":[{{"a":{text}}}]}}'


def test_columns_of_one_name_fall_together(replica: Client) -> None:
    assert replica.query("SELECT 1 AS a, 2 AS a, 3 AS b").result == [{"a": 2, "b": 3}]


def test_the_raw_form(replica: Client) -> None:
    sql = "SELECT 1 AS a, x'00' AS b UNION ALL SELECT 2, NULL"
    assert replica.query(sql, path="/query/raw").result == {
        "columns": ["a", "b"],
        "rows": [[1, {}], [2, None]],
        "meta": {"rows_read": 2, "rows_written": 0},
    }


def test_the_raw_form_is_made_from_the_objects(replica: Client) -> None:
    nothing = {"columns": [], "rows": [], "meta": {"rows_read": 0, "rows_written": 0}}
    assert replica.query("SELECT 1 AS a WHERE 0", path="/query/raw").result == nothing
    assert replica.query("CREATE TABLE t (a)", path="/query/raw").result == nothing
    doubled = replica.query("SELECT 1 AS a, 2 AS a", path="/query/raw").result
    assert (doubled["columns"], doubled["rows"]) == (["a"], [[2]])
    body = json.dumps({"transaction": [{"sql": "SELECT 1 AS a"}]})
    assert replica.send(body, "/query/raw").result[0]["rows"] == [[1]]


def test_values_of_two_megabytes_arrive(replica: Client) -> None:
    replica.run("CREATE TABLE t (a)")
    replica.run("INSERT INTO t VALUES (?)", ["ä" * 950_000])
    replica.run("INSERT INTO t VALUES (zeroblob(1900000))")
    assert replica.rows("SELECT length(a) FROM t") == [(950_000,), (1_900_000,)]


def test_bytes_can_be_sent_as_hexadecimal_digits(replica: Client) -> None:
    replica.run("CREATE TABLE t (a); INSERT INTO t VALUES (x'00ff')")
    assert replica.value("SELECT hex(a) || typeof(a) FROM t") == "00FFblob"


@pytest.mark.parametrize("value", [{}, {"a": 1}, [1]])
def test_an_object_as_a_parameter(replica: Client, is_peer: bool, value: object) -> None:
    answer = replica.query("SELECT ? AS a", [value])
    if is_peer:
        # The engine stores "[object Object]"; we would rather lose the request than the value.
        assert answer.error == "parameter 1 is no string, number, boolean or null: SQLITE_MISMATCH"
    else:
        assert answer.result == [{"a": "1" if value == [1] else "[object Object]"}]


def test_the_sizes_that_json_cannot_hold_are_doubles(replica: Client) -> None:
    assert math.isclose(replica.value("SELECT 1e300"), 1e300, rel_tol=1e-15)
    assert replica.value("SELECT 123456789012345680.0") == 123456789012345680.0
