"""Where a statement ends, and what follows the last one."""

from __future__ import annotations

import pytest

from afterquery.peer.split import split


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1;\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("; ; SELECT 1;; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT \";\"", ["SELECT ';'", 'SELECT ";"']),
        ("SELECT 'a'';'; SELECT 2", ["SELECT 'a'';'", "SELECT 2"]),
        ("SELECT [;]; SELECT `;`", ["SELECT [;]", "SELECT `;`"]),
        ("SELECT 1 -- ;\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT /* ; */ 1; SELECT 2", ["SELECT /* ; */ 1", "SELECT 2"]),
        (
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END; SELECT 3",
            ["CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END", "SELECT 3"],
        ),
        (
            "UPDATE t SET a = CASE WHEN 1 THEN 2 END; SELECT 1",
            ["UPDATE t SET a = CASE WHEN 1 THEN 2 END", "SELECT 1"],
        ),
        ("SELECT 'no end; SELECT 2", ["SELECT 'no end; SELECT 2"]),
        ("SELECT é; SELECT '😀;'", ["SELECT é", "SELECT '😀;'"]),
    ],
)
def test_the_statements(text: str, statements: list[str]) -> None:
    assert split(text) == (statements, False)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT 1;",
        "SELECT 1; \n\t\r\f",
        "SELECT 1 -- x",
        "SELECT 1 -- x;",
        "SELECT 1 /* x */ ; ",
        "SELECT 1 /* x",
        "/* SELECT 1 */ SELECT 1",
        "/* SELECT 1; -- */ SELECT 1",
        "-- SELECT 1;\nSELECT 1",
        "SELECT '-- x;;'",
        "SELECT ';;'; SELECT ';;'",
        "\ufeffSELECT 1 -- x",
    ],
)
def test_nothing_follows(text: str) -> None:
    statements, goes_on = split(text)
    assert statements
    assert not goes_on


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1; -- x",
        "SELECT 1; -- SELECT 1",
        "SELECT 1; -- x\n -- y -- z",
        "SELECT 1; /* x",
        "SELECT 1; /* x */",
        "SELECT 1 /* x */; /* y */",
        "SELECT 1;;",
        "SELECT 1; ; ",
        "SELECT 1 -- x\n;;",
    ],
)
def test_something_follows(text: str) -> None:
    statements, goes_on = split(text)
    assert len(statements) == 1
    assert goes_on


@pytest.mark.parametrize("text", ["", " ", ";", "-- x", "/* x */ ;"])
def test_no_statement_at_all(text: str) -> None:
    assert split(text) == ([], True)


@pytest.mark.parametrize("white_space_of_python", ["\u00a0", "\v", "\u2003"])
def test_what_is_white_space_to_python_only_is_a_statement(white_space_of_python: str) -> None:
    assert split("SELECT 1;" + white_space_of_python) == (
        ["SELECT 1", white_space_of_python],
        False,
    )


@pytest.mark.timeout(10)
@pytest.mark.parametrize("tail", ["-- " * 30_000 + "\n", ";" * 90_000, "/* " * 30_000])
def test_a_long_tail_takes_no_time(tail: str) -> None:
    assert split("SELECT 1;" + tail)[1]
