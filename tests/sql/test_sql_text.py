"""SQL is read as SQLite reads it, in Python too: no `str.strip()`, no `\\s`."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import afterquery.sqlite3
from afterquery import classify
from afterquery._sql import BLANK, NAME, SPACE, fold, keyword
from afterquery.peer.errors import RequestError
from afterquery.peer.protocol import parse
from afterquery.peer.split import split
from afterquery.sqlalchemy._text import savepoint, verb
from afterquery.sqlite3._statement import statement
from support.docs import ROOT

SOURCE = ROOT / "python" / "afterquery"

NO_SQL = {
    "demo", "django/configuration.py", "fastapi", "outbox/_command.py", "peer/app.py",
    "peer/auth.py", "peer/body.py", "peer/serve.py", "position.py",
}  # fmt: skip
"""Where such methods are called on headers, settings, URLs, … A file that reads SQL is not here."""

ELSEWHERE = {
    ("peer/reader.py", "split"),  # what the system says of a process
    ("lint/report.py", "lower"),  # the ending of a file's name
    ("lint/schema.py", "lower"),  # the same
    ("lint/schema.py", r"no such (function|collation sequence|module): (\w+)"),  # an error's text
}

UNICODE = {
    "strip", "lstrip", "rstrip", "split", "rsplit", "lower", "upper", "casefold", "title",
    "capitalize", "swapcase", "isspace", "isidentifier", "isdigit", "isdecimal", "isnumeric",
    "isalpha", "isalnum", "splitlines",
}  # fmt: skip
WITH_ARGUMENTS = {"strip", "lstrip", "rstrip", "split", "rsplit"}
"""Told what to look for, they do not ask Unicode."""


def found_in(source: str) -> Iterator[str]:
    """The methods and regular expressions of a module that take Unicode's word for it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name in UNICODE and not (name in WITH_ARGUMENTS and node.args):
                yield name
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(r"\\[sSwWbBdD]", node.value)
        ):
            yield node.value


def test_the_search_finds_them() -> None:
    source = 'a.strip()\nb.strip(" ")\nc.casefold()\nre.compile(r"\\s+x")\nd.split()\ne.upper\n'
    assert sorted(found_in(source)) == [r"\s+x", "casefold", "split", "strip"]


def test_no_module_that_reads_sql_asks_unicode() -> None:
    found = set()
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name in NO_SQL or name.split("/")[0] in NO_SQL:
            continue
        found |= {(name, what) for what in found_in(path.read_text(encoding="utf-8"))}
    assert found - ELSEWHERE == set(), "use afterquery._sql, or say above why it is no SQL"


def test_the_worker_of_the_tests_trims_as_starbasedb_does() -> None:
    """`trim()` is JavaScript's; the worker asks with it only whether there is a text at all."""
    worker = (ROOT / "tests" / "workerd" / "worker.js").read_text(encoding="utf-8")
    assert worker.count(".trim()") == worker.count("!sql.trim()") == 2


CLASSES = [chr(code) for code in [*range(1, 0x180), 0x1680, *range(0x2000, 0x2070), 0x3000, 0xFEFF]]


def accepted(sql: str) -> bool:
    with closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute(sql)
        except (sqlite3.Error, sqlite3.Warning):
            return False
        return True


def test_white_space_and_names_are_those_of_sqlite() -> None:
    for character in CLASSES:
        spaced = accepted(f"SELECT (1){character}AS b")
        assert (re.fullmatch(SPACE, character) is not None) == spaced, ascii(character)
        named = accepted(f"SELECT 1 AS ab{character}")
        is_name = re.fullmatch(NAME, character) is not None
        assert (is_name or spaced or character == ";") == named, ascii(character)
    assert re.fullmatch(BLANK, " \v\ufeff--x\n\t/* * ; */ /* not closed")
    assert not re.fullmatch(BLANK, "\v")


@pytest.mark.parametrize("end", ["\xa0", "\u2028", "\u3000", "\x85", "\ufeff", "$", "☃"])
def test_a_name_keeps_its_end(end: str) -> None:
    sql = f"DELETE FROM t{end}"
    (found,) = classify(sql).statements
    assert (found.sql, found.table) == (sql, f"t{end}")
    assert split(f"{sql}; ") == ([sql], False)
    for quoted in (f"s{end}", f'"s{end}"', f"[s{end}]", f"`s{end}`", f"'s{end}'"):
        for text in (f"SAVEPOINT {quoted}", f"release savepoint {quoted} -- x"):
            control = statement(text).control
            assert control is not None
            assert (control.name, savepoint(text)) == (f"s{end}", f"s{end}")


def test_what_comes_before_the_first_word_is_no_part_of_it() -> None:
    for before in ["\ufeff", " \v", "\f", "--x\n", "/**/", "/*\n*/\ufeff "]:
        assert accepted(f"{before}SELECT 1")
        control = statement(f"{before}rollback to \ufeffS").control
        assert control is not None
        assert (control.verb, control.name) == ("TO", "s")
        assert verb(f"{before}insert into t") == ("INSERT", len(before))
        assert savepoint(f"{before}ROLLBACK TRANSACTION TO S") == "s"
    assert savepoint("ROLLBACK") is None
    assert savepoint("") is None


def test_only_ascii_letters_have_another_case() -> None:
    assert fold("ÄbC\u212aİſ") == "Äbc\u212aİſ"
    assert keyword("selectß\u0131ſ") == "SELECTß\u0131ſ"


def test_rollback_to_behind_a_byte_order_mark_is_followed(tmp_path: Path) -> None:
    from support.recorder import Recorder

    recorder = Recorder()
    path = tmp_path / "primary.db"
    connect = afterquery.sqlite3.connect
    with closing(connect(path, replicator=recorder.as_replicator(), isolation_level=None)) as db:
        db.execute("CREATE TABLE t (a)")
        db.execute("BEGIN")
        db.execute("SAVEPOINT s\u3000")
        db.execute("INSERT INTO t VALUES (1)")
        db.execute("\ufeffROLLBACK TO s\u3000")
        db.execute("INSERT INTO t VALUES (2)")
        db.execute("COMMIT")
    sent = [[sql for sql, _, _ in write] for write in recorder.writes]
    assert sent == [["CREATE TABLE t (a)"], ["INSERT INTO t VALUES (2)"]]


def test_the_peer_takes_for_empty_what_starbasedb_does() -> None:
    for empty in ["", " ", "\ufeff", "\xa0\u2028\u3000", "\v\f"]:
        with pytest.raises(RequestError):
            parse(json.dumps({"sql": empty}).encode())
    for text in ["\x1c", "\x85", "\u200b", "\u180e", "SELECT 1"]:
        assert parse(json.dumps({"sql": text}).encode()).queries[0].sql == text
