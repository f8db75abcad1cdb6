"""`afterquery lint`: what in a schema would differ on a replica, where, and what to do about it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from afterquery import cli
from afterquery.lint import Finding, UnusableError, check
from support.docs import blocks

CLOCK = "reads the clock"
CHANCE = "calls random() or randomblob()"
UNKNOWN = "calls a function SQLite does not have built in"

CASES = [
    # object, line, what, schema
    ("table t", 1, f"DEFAULT of a {CLOCK}", "CREATE TABLE t (a UNIQUE DEFAULT CURRENT_TIMESTAMP)"),
    ("table t", 1, f"DEFAULT of a {CLOCK}", "CREATE TABLE t (a UNIQUE DEFAULT current_date)"),
    ("table t", 1, f"DEFAULT of a {CLOCK}", "CREATE TABLE t (a UNIQUE DEFAULT (datetime('now')))"),
    ("table t", 1, f"DEFAULT of a {CLOCK}", "CREATE TABLE t (a UNIQUE DEFAULT (unixepoch()))"),
    ("table t", 1, f"DEFAULT of a {CHANCE}", "CREATE TABLE t (a UNIQUE DEFAULT (random()))"),
    (
        "table t",
        4,
        f"DEFAULT of b c {CHANCE}",
        (
            "CREATE TABLE t (\n a PRIMARY KEY, -- DEFAULT (random())\n\n"
            ' "b c" DEFAULT (lower(hex(randomblob(16))))\n)'
        ),
    ),
    (
        "table t",
        5,
        f"DEFAULT of b {CLOCK}",
        (
            "CREATE TABLE t (a PRIMARY KEY, /* , x\n ( */ b TEXT NOT NULL\n DEFAULT (\n"
            "  'at ' ||\n  strftime('%s', 'now'))\n)"
        ),
    ),
    ("table t", 2, f"CHECK {UNKNOWN}", "CREATE TABLE t (a PRIMARY KEY,\n CHECK (mine(a) > 0))"),
    (
        "table t",
        3,
        f"generated column b {UNKNOWN}",
        "CREATE TABLE t (a PRIMARY KEY,\n b\n AS (mine(a)))",
    ),
    (
        "table t",
        1,
        "generated column b calls soundex(), which a replica refuses",
        "CREATE TABLE t (a PRIMARY KEY, b GENERATED ALWAYS AS (soundex(a)) STORED)",
    ),
    ("table t", 1, "no key that names a row", "CREATE TABLE t (a, b)"),
    ("table t", 1, "no key", "CREATE TABLE t (a, b); CREATE UNIQUE INDEX i ON t (a) WHERE b"),
    ("table _cf_t", 1, "_cf_", "CREATE TABLE _cf_t (a PRIMARY KEY)"),
    ("view _CF_v", 1, "_cf_", "CREATE VIEW _CF_v AS SELECT 1"),
    ("table tmp_t", 1, "tmp_", "CREATE TABLE tmp_t (a PRIMARY KEY)"),
    (
        "table t",
        1,
        "101 columns",
        f"CREATE TABLE t (a PRIMARY KEY, {','.join(f'c{n}' for n in range(100))})",
    ),
    ("table t", 1, "kind fts4", "CREATE VIRTUAL TABLE t USING fts4(a)"),
    (
        "table t",
        2,
        "the collation German is",
        "CREATE TABLE t (a PRIMARY KEY,\n b COLLATE German, c COLLATE NoCase)",
    ),
    ("table t", 1, "rolls back", "CREATE TABLE t (a PRIMARY KEY ON CONFLICT ROLLBACK)"),
    ("index i", 2, UNKNOWN, "CREATE TABLE t (a UNIQUE); CREATE INDEX i ON t (\n mine(a))"),
    ("index i", 1, UNKNOWN, "CREATE TABLE t (a UNIQUE); CREATE INDEX i ON t (a) WHERE mine(a)"),
    ("view v", 3, f"view {CLOCK}", "CREATE VIEW v (x) AS\n SELECT 1\n, date('now') AS x"),
    ("view v", 1, "time zone", "CREATE VIEW v AS SELECT datetime(1, 'unixepoch', 'localtime')"),
    ("database", 1, "UTF-16le", "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a PRIMARY KEY)"),
]

TRIGGER = """CREATE TRIGGER g AFTER UPDATE ON t
WHEN {when}
BEGIN
  SELECT 1;
  {body};
END"""

BODIES = [
    (5, f"the trigger's statement {CLOCK}", "UPDATE t SET a = CASE WHEN 1 THEN CURRENT_TIME END"),
    (6, f"the trigger's statement {CHANCE}", "UPDATE t\n  SET a = random()"),
    (5, "without an ORDER BY", "INSERT INTO t SELECT b FROM u"),
    (5, f"the trigger's statement {UNKNOWN}", "DELETE FROM t WHERE mine(a)"),
    (5, "the trigger's statement calls power()", "DELETE FROM t WHERE power(a, 2)"),
    (5, "rolls back", "SELECT RAISE(ROLLBACK, 'no')"),
    (5, "rolls back", "INSERT OR ROLLBACK INTO t VALUES (1)"),
]

FINE = """
CREATE TABLE t (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- DEFAULT (random())
  "default" TEXT DEFAULT 'CURRENT_TIMESTAMP' COLLATE NOCASE CHECK (length("default") > 0),
  n INTEGER DEFAULT -1, [check] DEFAULT (1 + 2), d DEFAULT (date('2024-01-01', '+1 day')),
  g AS (upper("default")) STORED, UNIQUE (n, d) ON CONFLICT IGNORE
);
CREATE TABLE log (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE keyed (a UNIQUE);
CREATE INDEX i ON t (lower("default"), n COLLATE RTRIM DESC) WHERE n > 0;
CREATE VIEW random AS SELECT count(*), 'now' FROM t ORDER BY 1 LIMIT 3;
CREATE TRIGGER g AFTER INSERT ON t WHEN NEW.n > 0 BEGIN
  INSERT INTO log VALUES (NEW.id, 'random()') ON CONFLICT DO NOTHING;
  SELECT CASE WHEN NEW.n = 7 THEN RAISE(ABORT, 'ROLLBACK') END;
END;
CREATE VIRTUAL TABLE f USING fts5 (a);
CREATE VIRTUAL TABLE r USING rtree (id, x0, x1);
"""


def script(folder: Path, sql: str) -> Path:
    path = folder / "schema.sql"
    path.write_text(sql)
    return path


def database(folder: Path, sql: str) -> Path:
    """The same schema as a database, made where there are such functions and collations."""
    path = folder / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("mine", -1, lambda *_: 1, deterministic=True)
        connection.create_collation("German", lambda a, b: (a > b) - (a < b))
        connection.executescript(sql)
    return path


@pytest.mark.parametrize(("title", "line", "what", "sql"), CASES)
def test_each_thing_is_found_alone(
    title: str, line: int, what: str, sql: str, tmp_path: Path
) -> None:
    for path in (database(tmp_path, sql), script(tmp_path, sql)):
        (found,) = check(path)
        assert (found.object, found.line) == (title, line), found
        assert what in found.what
        assert found.remedy


@pytest.mark.parametrize(("line", "what", "body"), BODIES)
def test_triggers(line: int, what: str, body: str, tmp_path: Path) -> None:
    schema = "CREATE TABLE u (b PRIMARY KEY); CREATE TABLE t (a PRIMARY KEY);\n"
    sql = schema + TRIGGER.format(when="NEW.a > 0", body=body)
    (found,) = check(database(tmp_path, sql))
    assert (found.object, found.line) == ("trigger g", line), found
    assert what in found.what
    (in_file,) = check(script(tmp_path, sql))
    assert in_file == Finding("trigger g", line + 1, found.what, found.remedy)


def test_a_triggers_condition(tmp_path: Path) -> None:
    trigger = TRIGGER.format(when="date('now')\n > NEW.a", body="SELECT 2")
    (found,) = check(database(tmp_path, f"CREATE TABLE t (a PRIMARY KEY); {trigger}"))
    assert (found.line, found.what) == (2, f"the trigger's WHEN {CLOCK}")


def test_what_does_not_differ_is_not_found(tmp_path: Path) -> None:
    assert check(database(tmp_path, FINE)) == []
    assert check(script(tmp_path, FINE)) == []


CHILD = "CREATE TABLE p (id PRIMARY KEY);\nCREATE TABLE c (\n  id PRIMARY KEY, p REFERENCES p\n);"


def test_foreign_keys(tmp_path: Path) -> None:
    (found,) = check(database(tmp_path, CHILD))
    assert (found.object, found.line) == ("table c", 2)
    assert "foreign keys (to p) are on in a replica" in found.what
    assert "PRAGMA foreign_keys = ON" in found.remedy


def test_rows_that_violate_them(tmp_path: Path) -> None:
    sql = f"{CHILD}\nINSERT INTO c VALUES (1, 9), (2, 8), (3, NULL);"
    _, found = check(script(tmp_path, sql))
    assert (found.line, found.what) == (3, "2 rows refer to rows that are not in p")


def test_foreign_keys_that_no_write_can_satisfy(tmp_path: Path) -> None:
    sql = "CREATE TABLE p (id PRIMARY KEY, n); CREATE TABLE c (id PRIMARY KEY REFERENCES p (n))"
    _, found = check(database(tmp_path, sql))
    assert "mismatch" in found.what


def test_the_lines_of_a_file_are_the_files(tmp_path: Path) -> None:
    sql = f"-- a dump; with a comment\nBEGIN;\n{CHILD}\nCOMMIT;\n\nCREATE TABLE\n  x\n  (\n  a);"
    lines = {found.object: found.line for found in check(script(tmp_path, sql))}
    assert lines == {"table c": 5, "table x": 9}


def test_a_module_that_is_not_here(tmp_path: Path) -> None:
    (found,) = check(script(tmp_path, "\nCREATE VIRTUAL TABLE v\nUSING mine(a)"))
    assert (found.object, found.line) == ("table v", 3)


def test_what_a_file_alters_or_drops(tmp_path: Path) -> None:
    sql = "CREATE TABLE a (x);\nCREATE TABLE b (x);\nALTER TABLE a ADD COLUMN y; DROP TABLE b"
    assert [(found.object, found.line) for found in check(script(tmp_path, sql))] == [
        ("table a", 1)
    ]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_is_left_as_it_is(mode: str, tmp_path: Path) -> None:
    path = database(tmp_path, f"PRAGMA journal_mode = {mode}; {CHILD}")
    before = path.read_bytes()
    assert len(check(path)) == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_in_use(tmp_path: Path) -> None:
    path = database(tmp_path, "PRAGMA journal_mode = wal")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (a)")
        assert [found.object for found in check(path)] == ["table t"]


def test_a_file_has_no_effect_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sql = "ATTACH 'other.db' AS o; VACUUM INTO 'copy.db'; SELECT 1; CREATE TABLE t (a PRIMARY KEY)"
    path = script(tmp_path, sql)
    assert check(path) == []
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no.db", None, "No such file"),
        ("no.sql", None, "No such file"),
        ("notes.txt", b"CREATE TABLE t (a)", "neither a SQLite database nor a .sql file"),
        ("bad.sql", b"\n\nCREATE TABLE t (a;\n", "bad.sql:3: "),
        ("bad.sql", b"CREATE TABLE t (a);\nINSERT INTO nowhere VALUES (1);", "bad.sql:2: no such"),
        ("bytes.sql", b"\xff\xfe", "decode"),
        ("torn.db", b"SQLite format 3\x00" + b"\x00" * 100, "torn.db"),
    ],
)
def test_unusable_input(
    name: str, content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableError):
        check(path)
    assert cli.main(["lint", "--schema", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("afterquery: ")
    assert words in error


def test_the_command_tells_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "CREATE TABLE t (a PRIMARY KEY,\n b DEFAULT (random()))"
    for path, place in (
        (script(tmp_path, sql), ":2: table t: "),
        (database(tmp_path, sql), ": table t, line 2: "),
    ):
        assert cli.main(["lint", "--schema", str(path)]) == 1
        first, second = capsys.readouterr().out.splitlines()
        assert first == f"{path}{place}the DEFAULT of b {CHANCE}"
        assert second.startswith("    name the column in every INSERT")


def test_nothing_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = script(tmp_path, FINE)
    assert cli.main(["lint", "--schema", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: nothing found that would differ on a replica\n"


def test_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(script(tmp_path, "CREATE TABLE t (a)"))
    assert cli.main(["lint", "--schema", path, "--format", "json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert list(found) == ["object", "line", "what", "remedy"]
    Path(path).write_text("")
    assert cli.main(["lint", "--schema", path, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_help_is_in_step(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "90")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["lint", "--help"])
    expected = f"$ afterquery lint --help\n{capsys.readouterr().out}"
    assert expected.split() in [block.split() for block in blocks("README.md", "text")]
