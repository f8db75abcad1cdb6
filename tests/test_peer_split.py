"""Where a statement ends: what the peer relies on, whoever does the splitting."""

from __future__ import annotations

import pytest

from afterquery.peer.split import split, split_statements

CASES = [
    ("", []),
    ("SELECT 1", ["SELECT 1"]),
    ("SELECT 1;", ["SELECT 1;"]),
    ("SELECT 1; SELECT 2", ["SELECT 1;", " SELECT 2"]),
    ("SELECT 1;\nSELECT 2;", ["SELECT 1;", "\nSELECT 2;"]),
    ("SELECT ';'; SELECT \";\"", ["SELECT ';';", ' SELECT ";"']),
    ("SELECT 'a'';'; SELECT 2", ["SELECT 'a'';';", " SELECT 2"]),
    ("SELECT [;]; SELECT `;`", ["SELECT [;];", " SELECT `;`"]),
    ("SELECT 1 -- ;\n; SELECT 2", ["SELECT 1 -- ;\n;", " SELECT 2"]),
    ("SELECT 1 /* ; */; SELECT 2", ["SELECT 1 /* ; */;", " SELECT 2"]),
    (
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END; SELECT 3",
        ["CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;", " SELECT 3"],
    ),
    (
        "EXPLAIN CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END; SELECT 3",
        ["EXPLAIN CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END;", " SELECT 3"],
    ),
    (
        "UPDATE t SET a = CASE WHEN 1 THEN 2 END; SELECT 1",
        ["UPDATE t SET a = CASE WHEN 1 THEN 2 END;", " SELECT 1"],
    ),
    ("SELECT 'no end; SELECT 2", ["SELECT 'no end; SELECT 2"]),
    ("SELECT é; SELECT '😀;'", ["SELECT é;", " SELECT '😀;'"]),
]


@pytest.mark.parametrize(("text", "pieces"), CASES)
def test_the_pieces(text: str, pieces: list[str]) -> None:
    assert split_statements(text) == pieces


@pytest.mark.parametrize(
    "text", [*(text for text, _ in CASES), ";;", " ; SELECT 1 ; -- x", "-- x", "/* x", "; \n "]
)
def test_nothing_of_the_text_is_lost(text: str) -> None:
    assert "".join(split_statements(text)) == text


@pytest.mark.parametrize(
    ("text", "statements", "trailing"),
    [
        ("SELECT 1", 1, False),
        ("SELECT 1;", 1, False),
        ("SELECT 1; \n\t\r\f", 1, False),
        ("SELECT 1 -- x", 1, False),
        ("SELECT 1; -- x", 1, True),
        ("SELECT 1; -- x\n -- y -- z", 1, True),
        ("SELECT 1; /* x", 1, True),
        ("SELECT 1;;", 1, True),
        ("SELECT 1; ; ", 1, True),
        ("/* x */ SELECT 1", 1, False),
        ("/* x */ -- y\n SELECT 1", 1, False),
        ("", 0, True),
        (" ", 0, True),
        ("-- x", 0, True),
        # Not white space to SQLite.
        ("SELECT 1;\u00a0", 2, False),
        ("SELECT 1;\v", 2, False),
    ],
)
def test_what_follows_the_last_statement(text: str, statements: int, trailing: bool) -> None:
    found, more = split(text)
    # Empty pieces in front belong to the statement after them; SQLite skips them.
    assert (len(found), more) == (statements, trailing)


@pytest.mark.timeout(10)
def test_a_tail_of_dashes_takes_no_time() -> None:
    assert split("SELECT 1;" + "-- " * 30_000 + "\nx")[1] is False
