"""Paths, tokens and bodies."""

from __future__ import annotations

import pytest

from support.client import Client
from support.process import ADMIN_TOKEN, CLIENT_TOKEN, ReplicaProcess

ONE = '{"sql": "SELECT 1 AS a"}'


@pytest.mark.parametrize(
    "path", ["/query/", "//query", "/query/raw/", "/", "/QUERY", "/query2", "/a/query"]
)
def test_any_other_path_is_not_found(replica: Client, path: str) -> None:
    answer = replica.send(ONE, path)
    assert (answer.status, answer.error) == (404, "Not found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_any_other_method_is_not_found(replica: Client, method: str) -> None:
    assert replica.send(ONE, method=method).status == 404


def test_a_query_string_does_not_matter(replica: Client) -> None:
    assert replica.send(ONE, "/query?x=1").result == [{"a": 1}]


def test_no_token(running: ReplicaProcess) -> None:
    for path in ("/query", "/nowhere"):
        answer = Client(running.url, None).send(ONE, path)
        assert (answer.status, answer.error) == (401, "Unauthorized request")


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", f"Bearer {ADMIN_TOKEN}x", f"bearer {ADMIN_TOKEN}", f"Basic {ADMIN_TOKEN}"],
)
def test_a_wrong_token(replica: Client, header: str) -> None:
    for path in ("/query", "/nowhere"):
        answer = replica.send(ONE, path, headers={"Authorization": header})
        assert (answer.status, answer.error) == (400, "Unauthorized request")


def test_the_word_bearer_is_not_needed(replica: Client) -> None:
    assert replica.send(ONE, headers={"Authorization": ADMIN_TOKEN}).status == 200


def test_the_client_token_reads(running: ReplicaProcess) -> None:
    assert running.client(CLIENT_TOKEN).query("SELECT 1 AS a").result == [{"a": 1}]


def test_the_client_token_writes_only_on_the_engine(
    running: ReplicaProcess, replica: Client, is_peer: bool
) -> None:
    replica.run("CREATE TABLE t (a)")
    answer = running.client(CLIENT_TOKEN).query("INSERT INTO t VALUES (1)")
    if is_peer:
        assert answer.error.startswith("attempt to write a readonly database: SQLITE_READONLY")
    assert replica.value("SELECT count(*) FROM t") == int(not is_peer)


@pytest.mark.parametrize("kind", ["text/plain", "", "Application/JSON"])
def test_the_content_type_must_be_json(replica: Client, kind: str) -> None:
    answer = replica.send(ONE, headers={"Content-Type": kind})
    assert (answer.status, answer.error) == (400, "Content-Type must be application/json.")


def test_the_content_type_may_name_its_charset(replica: Client) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert replica.send(ONE, headers=headers).status == 200


@pytest.mark.parametrize(
    "body",
    ["{}", "[]", "1", '"x"', '{"sql": 1}', '{"sql": ""}', '{"sql": " "}', '{"transaction": []}'],
)
def test_a_body_without_sql(replica: Client, body: str) -> None:
    answer = replica.send(body)
    assert (answer.status, answer.error) == (400, 'Invalid or empty "sql" field.')


@pytest.mark.parametrize("body", ["", "{", '{"sql": "SELECT 1"', "x", ONE + "x", "null"])
def test_a_body_that_is_no_json_object(replica: Client, body: str) -> None:
    assert replica.send(body).status == 500


@pytest.mark.parametrize("params", ['"x"', "1", "true"])
def test_params_of_a_wrong_kind(replica: Client, params: str) -> None:
    answer = replica.send(f'{{"sql": "SELECT 1", "params": {params}}}')
    assert (answer.status, answer.error) == (
        400,
        'Invalid "params" field. Must be an array or object.',
    )


def test_params_as_an_object_bind_nothing(replica: Client) -> None:
    assert replica.send('{"sql": "SELECT 1 AS a", "params": {"b": 1}}').result == [{"a": 1}]
    assert replica.send('{"sql": "SELECT ?", "params": {"0": 1}}').status == 500


def test_params_that_are_null(replica: Client) -> None:
    assert replica.send('{"sql": "SELECT 1", "params": null}').status == 500


def test_a_transaction_goes_before_sql(replica: Client) -> None:
    body = '{"sql": "SELECT 1 AS a", "transaction": [{"sql": "SELECT 2 AS a"}]}'
    assert replica.send(body).result == [[{"a": 2}]]


def test_the_answer_is_json(replica: Client) -> None:
    assert replica.send(ONE).headers["content-type"] == "application/json"
    assert replica.send("{").headers["content-type"] == "application/json"
