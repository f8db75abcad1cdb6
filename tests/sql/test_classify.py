"""`classify`: what a text does, as the case table says, in values that do not change."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from afterquery import Classification, Statement, classify
from support.docs import ROOT

# Of a name that the type checker need not find: only one of the two is installed.
toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

CASES: list[dict[str, Any]] = toml.loads(
    (ROOT / "tests/data/sql_cases.toml").read_text(encoding="utf-8")
)["case"]


@dataclass(frozen=True)
class Verdict:
    """What the table says of a statement, as far as Python sees it."""

    kind: str
    verb: str
    table: str | None = None
    schema: str | None = None
    returning: bool = False

    @classmethod
    def expected(cls, case: dict[str, Any]) -> Verdict:
        return cls(**{name: case[name] for name in cls.__annotations__ if name in case})

    @classmethod
    def found(cls, statement: Statement) -> Verdict:
        return cls(
            statement.kind,
            statement.verb,
            statement.table or None,
            statement.schema or None,
            statement.returning,
        )


def test_every_case_is_as_the_table_says() -> None:
    wrong = []
    for case in CASES:
        expected = [
            Verdict.expected(one) for one in case.get("statements", [case]) if "kind" in one
        ]
        found = [Verdict.found(statement) for statement in classify(case["sql"]).statements]
        if found != expected:
            wrong.append((case["sql"], expected, found))
    assert len(CASES) >= 150
    assert not wrong


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("", []),
        (" ;; /* a */ ; -- b", []),
        ("SELECT 1", ["SELECT 1"]),
        (" /* a */ DELETE FROM t /* b */ ; SELECT ';' ", ["DELETE FROM t", "SELECT ';'"]),
        ("UPDATE t SET a = '☃;' ;\n", ["UPDATE t SET a = '☃;'"]),
    ],
)
def test_statements_are_in_source_order(sql: str, parts: list[str]) -> None:
    statements = classify(sql).statements
    assert isinstance(statements, tuple)
    assert [statement.sql for statement in statements] == parts


def test_reasons_are_a_tuple_with_each_thing_once() -> None:
    (found,) = classify("UPDATE t SET a = random(), b = date(), c = random()").statements
    assert found.reasons == ("calls random() or randomblob()", "reads the clock")
    assert found.deterministic is False
    (found,) = classify("UPDATE t SET a = 1").statements
    assert found.reasons == ()
    assert found.deterministic is True


@pytest.mark.parametrize("name", ["kind", "sql", "table", "reasons", "deterministic", "other"])
def test_a_statement_is_immutable(name: str) -> None:
    (statement,) = classify("DELETE FROM t").statements
    with pytest.raises(AttributeError):
        setattr(statement, name, "x")
    with pytest.raises(AttributeError):
        delattr(statement, name)


def test_a_classification_is_immutable() -> None:
    found = classify("DELETE FROM t; SELECT 1")
    for name in ("statements", "other"):
        with pytest.raises(AttributeError):
            setattr(found, name, ())
    assert found.statements == found.statements


@pytest.mark.parametrize("kind", [Classification, Statement])
def test_they_are_made_by_classify_alone(kind: type) -> None:
    with pytest.raises(TypeError):
        kind()


def test_equal_texts_are_equal() -> None:
    sql = "INSERT INTO main.t VALUES (random()) RETURNING a; SELECT 1"
    one, two = classify(sql), classify(sql)
    assert one == two
    assert hash(one) == hash(two)
    assert one.statements == two.statements
    assert [hash(s) for s in one.statements] == [hash(s) for s in two.statements]
    assert {one: "x"}[two] == "x"


@pytest.mark.parametrize(
    "other",
    ["DELETE FROM u", "DELETE FROM main.t", "UPDATE t SET a = 1", "DELETE FROM t RETURNING a", ""],
)
def test_other_texts_are_not(other: str) -> None:
    one, two = classify("DELETE FROM t"), classify(other)
    assert one != two
    assert one.statements != two.statements
    assert len({one, two, classify("DELETE FROM t")}) == 2


def test_nothing_else_is_equal() -> None:
    found = classify("DELETE FROM t")
    assert found != "DELETE FROM t"
    assert found.statements[0] != found
    assert found is not None


def test_a_repr_says_what_it_is() -> None:
    found = classify("DELETE FROM t; SELECT 1")
    first, second = found.statements
    assert repr(first) == 'Statement(kind="write", verb="DELETE", table="t")'
    assert repr(found) == f"Classification([{first!r}, {second!r}])"


@pytest.mark.parametrize("sql", [b"SELECT 1", None, 5, ["SELECT 1"]])
def test_a_text_is_a_str(sql: Any) -> None:
    with pytest.raises(TypeError):
        classify(sql)


def test_what_no_sqlite_can_have_run() -> None:
    with pytest.raises(UnicodeEncodeError):
        classify("SELECT '\ud800'")
    assert classify("☃ nonsense").statements[0].kind == "unknown"
    assert classify("\x00").statements == () or classify("\x00").statements[0].kind == "unknown"
