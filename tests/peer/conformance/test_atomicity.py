"""What of a text is applied when it fails, and what of it others see."""

from __future__ import annotations

import json

import pytest

from support.client import Client


@pytest.fixture
def table(replica: Client) -> Client:
    replica.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
    return replica


def ids(client: Client) -> list[int]:
    return [row[0] for row in client.rows("SELECT id FROM t ORDER BY id")]


def insert(*numbers: int) -> str:
    return ";".join(f"INSERT INTO t (id) VALUES ({number})" for number in numbers)


def test_a_text_is_applied_in_order(table: Client) -> None:
    sql = "INSERT INTO t VALUES (1, 'a'); UPDATE t SET a = a || 'b'; UPDATE t SET a = a || 'c'"
    assert table.query(sql).result == []
    assert table.value("SELECT a FROM t") == "abc"


def test_only_the_last_statement_answers(table: Client) -> None:
    answer = table.query(insert(1, 2) + " RETURNING id, a")
    assert answer.result == [{"id": 2, "a": None}]


def test_what_ran_before_a_failing_statement_stays(table: Client) -> None:
    answer = table.query(insert(1, 2, 1, 3))
    assert answer.status == 500
    assert ids(table) == [1, 2]


@pytest.mark.parametrize("bad", ["NOT SQL", "INSERT INTO nowhere VALUES (1)", "BEGIN", "SELECT ?"])
def test_what_ran_before_a_refused_statement_stays(table: Client, bad: str) -> None:
    assert table.query(f"{insert(1)};{bad};{insert(2)}").status == 500
    assert ids(table) == [1]


def test_nothing_runs_after_a_failing_first_statement(table: Client) -> None:
    table.query(insert(1))
    assert table.query(insert(1, 2, 3)).status == 500
    assert ids(table) == [1]


@pytest.mark.parametrize("tail", ["; -- done", ";;", "; ;", "; /* done */", "; \0", "\0 more"])
def test_a_tail_without_a_statement_fails_although_the_writes_are_applied(
    table: Client, tail: str
) -> None:
    answer = table.query(insert(1) + tail)
    assert (answer.status, answer.error) == (500, "SQL code did not contain a statement.")
    assert ids(table) == [1]


@pytest.mark.parametrize("tail", [";", "; \n\t\r\f ", " -- done", " /* done */ "])
def test_a_tail_that_belongs_to_the_statement_does_not_matter(table: Client, tail: str) -> None:
    assert table.query(insert(1) + tail).result == []
    assert ids(table) == [1]


@pytest.mark.parametrize("head", [";", ";; ", "-- first\n", "/* ; */ "])
def test_a_head_without_a_statement_does_not_matter(table: Client, head: str) -> None:
    assert table.query(head + insert(1)).result == []
    assert ids(table) == [1]


@pytest.mark.parametrize("text", ["-- nothing", "/* nothing */", ";", "; ;"])
def test_a_text_without_a_statement_fails(replica: Client, text: str) -> None:
    answer = replica.query(text)
    assert (answer.status, answer.error) == (500, "SQL code did not contain a statement.")


def test_a_nul_in_a_literal_ends_the_text_inside_it(table: Client) -> None:
    answer = table.query(f"{insert(1)}; INSERT INTO t (a) VALUES ('x\0y')")
    assert answer.status == 500
    assert answer.error.startswith("unrecognized token")
    assert ids(table) == [1]


def test_semicolons_in_literals_names_comments_and_triggers_end_no_statement(
    table: Client,
) -> None:
    table.run(
        "CREATE TRIGGER copy AFTER INSERT ON t WHEN new.a = 'x;y'"
        " BEGIN INSERT INTO t (a) VALUES ('one;'); INSERT INTO t (a) VALUES (\"two;\"); END;"
        " INSERT INTO t (a) /* ; */ VALUES -- ;\n ('x;y'); CREATE TABLE [odd;name] (`a;b`)"
    )
    assert table.rows("SELECT a FROM t ORDER BY id") == [("x;y",), ("one;",), ("two;",)]
    assert table.query('SELECT * FROM "odd;name"').result == []


def test_a_transaction_is_a_loop_and_keeps_what_ran(table: Client) -> None:
    body = json.dumps({"transaction": [{"sql": insert(n)} for n in (1, 2, 1, 3)]})
    assert table.send(body).status == 500
    assert ids(table) == [1, 2]


def test_a_transaction_answers_with_one_result_for_each(table: Client) -> None:
    queries = [{"sql": insert(1)}, {"sql": "SELECT id FROM t WHERE id = ?", "params": [1]}]
    assert table.send(json.dumps({"transaction": queries})).result == [[], [{"id": 1}]]


def test_a_transaction_with_a_bad_entry_runs_nothing(table: Client) -> None:
    answer = table.send(json.dumps({"transaction": [{"sql": insert(1)}, {"sql": " "}]}))
    assert (answer.status, answer.error) == (500, 'Invalid or empty "sql" field in transaction.')
    assert ids(table) == []


@pytest.mark.parametrize("times", [1, 2])
def test_returning_that_is_not_last_is_refused_and_nothing_applied(
    table: Client, is_peer: bool, times: int
) -> None:
    for _ in range(times):
        answer = table.query(f"{insert(1)} RETURNING id; {insert(2)}")
        assert answer.status == 500
        # Ours says what is wrong; the engine's own words are "internal error; reference = …".
        assert ("only the last statement can return rows" if is_peer else "internal") in (
            answer.error
        )
    assert ids(table) == []


def test_a_select_that_is_not_last_fails_the_second_time(table: Client, is_peer: bool) -> None:
    text = f"SELECT 7; {insert(1)}"
    first = table.query(text)
    if is_peer:
        assert "only the last statement can return rows" in first.error
        assert ids(table) == []
        return
    assert first.result == []
    second = table.query(text)
    assert second.error == "A SQL prepared statement can only be executed once at a time."
    assert ids(table) == [1]


def test_or_rollback_undoes_the_statements_before_it(table: Client) -> None:
    table.query(insert(1))
    answer = table.query(f"{insert(2)}; INSERT OR ROLLBACK INTO t (id) VALUES (1); {insert(3)}")
    assert answer.status == 500
    assert ids(table) == [1]


def test_raise_rollback_undoes_the_statements_before_it(table: Client) -> None:
    table.run(
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 9"
        " BEGIN SELECT RAISE(ROLLBACK, 'never'); END"
    )
    assert table.query(insert(1, 9, 2)).status == 500
    assert ids(table) == []
    assert table.query(insert(3)).result == []


def test_a_violated_deferred_constraint_undoes_the_whole_text(table: Client) -> None:
    table.run("CREATE TABLE child (p REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)")
    answer = table.query(f"{insert(1)}; INSERT INTO child VALUES (99)")
    assert answer.status == 500
    assert "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT" in answer.error
    assert "rolled back" in answer.error
    assert ids(table) == []
    assert table.query(f"INSERT INTO child VALUES (5); {insert(5)}").result == []


def test_or_fail_keeps_the_rows_before_the_failing_one(table: Client) -> None:
    assert table.query("INSERT OR FAIL INTO t (id) VALUES (1), (2), (1), (3)").status == 500
    assert ids(table) == [1, 2]
