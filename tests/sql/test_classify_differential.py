"""Our verdicts against SQLite's own: what its authorizer is asked while it compiles a statement."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from afterquery import classify
from support.docs import ROOT

LABELLED = ROOT.parent / "shared" / "sql" / "labelled.jsonl.gz"
SEED = 20_240_229
EXAMPLES = 3_000

SCHEMA = """
CREATE TABLE t (a INTEGER PRIMARY KEY, b, c TEXT, "select" INT);
CREATE TABLE u (a INTEGER PRIMARY KEY, b UNIQUE, c, "select");
CREATE TABLE "a b" (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE "q""q" (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE "select" (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE [naïve☃] (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE temporary_ (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE replace (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE t\xa0 (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE t\u2028 (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE \u3000 (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TABLE t\ufeff (a INTEGER PRIMARY KEY, b, c, "select");
CREATE VIEW v AS SELECT * FROM t;
CREATE TRIGGER on_v INSTEAD OF INSERT ON v BEGIN INSERT INTO log VALUES (1); END;
CREATE TRIGGER on_t AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); DELETE FROM u; END;
CREATE TABLE log (x);
CREATE INDEX i ON t (b);
ATTACH ':memory:' AS other;
CREATE TABLE other.t (a INTEGER PRIMARY KEY, b, c, "select");
CREATE TEMP TABLE scratch (a INTEGER PRIMARY KEY, b, c, "select");
ANALYZE; -- makes its table, which the next one need not
"""

WRITES = {
    sqlite3.SQLITE_INSERT: "INSERT",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_DELETE: "DELETE",
}
DDL = {
    code: name.split("_")[1]
    for name, code in vars(sqlite3).items()
    if name.startswith(("SQLITE_CREATE_", "SQLITE_DROP_", "SQLITE_ALTER_"))
}
OTHERS = {
    sqlite3.SQLITE_TRANSACTION: "txn",
    sqlite3.SQLITE_SAVEPOINT: "txn",
    sqlite3.SQLITE_PRAGMA: "other",
    sqlite3.SQLITE_ATTACH: "other",
    sqlite3.SQLITE_DETACH: "other",
    sqlite3.SQLITE_ANALYZE: "other",
    sqlite3.SQLITE_REINDEX: "other",
}


@dataclass
class Watched:
    """A connection that notes what its authorizer is asked, and runs nothing."""

    connection: sqlite3.Connection
    asked: list[tuple[int, str | None, str | None, str | None, str | None]] = field(
        default_factory=list
    )
    count: int = 0

    def verdict(self, sql: str) -> tuple[str, str | None, set[str]] | None:
        """Kind, verb and the tables written directly; None where SQLite rejects the statement."""
        self.asked.clear()
        try:
            # EXPLAIN compiles a statement as it is, and does not run it. The number keeps Python
            # from taking it out of its cache, where nobody would be asked.
            self.count += 1
            self.connection.execute(f"EXPLAIN /* {self.count} */ {sql}").close()
        except (sqlite3.Error, sqlite3.Warning):
            return None
        return self._read()

    def _read(self) -> tuple[str, str | None, set[str]]:
        # DDL writes the schema's table, so it goes first.
        for code, *_ in self.asked:
            if code in DDL:
                return "ddl", DDL[code], set()
        for code, *_ in self.asked:
            if code in OTHERS:
                return OTHERS[code], None, set()
        direct = [(code, table) for code, table, _, _, trigger in self.asked if trigger is None]
        # An upsert asks for an UPDATE too: what is asked first is the statement's own.
        written = [(WRITES[code], table or "") for code, table in direct if code in WRITES]
        if not written:
            return "read", "SELECT", set()
        return "write", written[0][0], {table for _, table in written}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(SCHEMA)
        found = Watched(connection)

        def note(code: int, *about: str | None) -> int:
            found.asked.append((code, *about))  # type: ignore[arg-type]
            return sqlite3.SQLITE_OK

        connection.set_authorizer(note)
        yield found


# the grammar

NAMES = {
    "t": ["t", "T", '"t"', "[t]", "`t`", "main.t", "MAIN . t", '"main"."t"', "other.t", "'t'"],
    "u": ["u", "main.u", "/**/u/* u2 */"],
    "a b": ['"a b"', "[a b]", "`a b`", 'main."a b"'],
    'q"q': ['"q""q"', '[q"q]', '`q"q`'],
    "select": ['"select"', "[select]", "main.'select'"],
    "naïve☃": ["naïve☃", "[naïve☃]"],
    "temporary_": ["temporary_"],
    "replace": ["replace", '"replace"', "main.replace"],
    "scratch": ["scratch", "temp.scratch", "TEMP.[scratch]"],
    "log": ["log -- the log\n"],
    "t\xa0": ["t\xa0", '"t\xa0"', "[T\xa0]"],
    "t\u2028": ["t\u2028", "main.`t\u2028`"],
    "\u3000": ["\u3000", "main . \u3000"],
    "t\ufeff": ["t\ufeff", "'t\ufeff'"],
}
NAME = st.sampled_from([spelling for spellings in NAMES.values() for spelling in spellings])
SPACE = st.sampled_from(
    [
        " ", " ", " ", "\n", "\t ", " /* ; DELETE FROM x */ ", " -- x; y '\n", "\f", "\r", " \v",
        "\t\v\v\f", " \ufeff", "/**/", "/*\xa0*/\ufeff",
    ]
)  # fmt: skip
COLUMN = st.sampled_from(["a", "b", '"select"', "[c]", "rowid"])
ATOM = st.sampled_from(
    [
        "1", "-1.5e3", "NULL", "'it''s; x'", "x'00ff'", "a", "b", '"c"', "?", "?3", ":n", "@n",
        "'INSERT INTO u'", "CURRENT_DATE", "random()", "replace('a', 'b', 'c')", "(1)", "true",
        "CAST(a AS TEXT)", "EXISTS (SELECT 1 FROM u)", "(SELECT max(b) FROM u)", "a IN (1, 2)",
        "CASE WHEN a THEN 1 ELSE 2 END", "a COLLATE nocase", "b NOT NULL", "count(*)", "a ISNULL",
        ":n\xa0", "@\u2028", "$a::b(c)", "0x1F", "0x1FAND a", "1e5", ".5", "b AND\ufeff a",
        "a BETWEEN 1 AND 2", "a -> 'x'", "a IS NOT DISTINCT FROM 1", "'[' || '\"'", "likely(b)",
    ]
)  # fmt: skip
OPERATOR = st.sampled_from(["+", "||", " AND ", " or ", "=", "<>", " IS ", ">>", "/", " GLOB "])
CONFLICT = st.sampled_from(
    ["", "", " OR IGNORE", " or replace", " OR ABORT", " OR FAIL", " OR ROLLBACK"]
)
MAYBE = st.booleans()


@st.composite
def expression(draw: st.DrawFn, depth: int = 2) -> str:
    shape = draw(st.integers(0, 5)) if depth else 0
    if shape == 3:
        return f"{draw(expression(depth - 1))}{draw(OPERATOR)}{draw(expression(depth - 1))}"
    if shape == 4:
        return f"({draw(expression(depth - 1))})"
    if shape == 5:
        return f"(SELECT{draw(SPACE)}{draw(expression(depth - 1))} FROM {draw(NAME)} LIMIT 1)"
    return draw(ATOM)


@st.composite
def select(draw: st.DrawFn, columns: int = 2, depth: int = 1) -> str:
    values = ", ".join(draw(expression(depth)) for _ in range(columns))
    if draw(st.integers(0, 5)) == 0:
        return f"VALUES{draw(SPACE)}({values}), ({values})"
    text = f"SELECT{draw(st.sampled_from(['', ' DISTINCT', ' ALL']))}{draw(SPACE)}{values}"
    text += f" FROM{draw(SPACE)}{draw(NAME)}"
    if draw(MAYBE):
        text += f" WHERE {draw(expression(depth))}"
    if draw(st.integers(0, 4)) == 0:
        text += " GROUP BY 1 HAVING a > 0"
    if depth and draw(st.integers(0, 4)) == 0:
        return f"{text} UNION ALL {draw(select(columns, 0))}"
    return text + draw(st.sampled_from(["", "", " ORDER BY 1", " LIMIT 3", " LIMIT 1 OFFSET 2"]))


@st.composite
def with_clause(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 3)):
        return ""
    name = draw(st.sampled_from(["w", "[delete]", '"u"', "insert_", "w (x, y)", "replace"]))
    kind = draw(st.sampled_from(["", " RECURSIVE"]))
    return f"WITH{kind}{draw(SPACE)}{name} AS{draw(SPACE)}({draw(select())}) "


@st.composite
def returning(draw: st.DrawFn) -> str:
    return draw(
        st.sampled_from(["", "", "", " RETURNING *", " RETURNING a AS b, 'x'", "\nreturning 1"])
    )


@st.composite
def insert(draw: st.DrawFn) -> str:
    verb = "REPLACE" if draw(st.integers(0, 3)) == 0 else f"INSERT{draw(CONFLICT)}"
    target = draw(NAME | st.sampled_from(["v", "main.v"]))
    text = f"{draw(with_clause())}{verb}{draw(SPACE)}INTO{draw(SPACE)}{target}"
    if draw(st.integers(0, 4)) == 0:
        text += " AS z"
    source = draw(st.integers(0, 3))
    if source == 0:
        text += " DEFAULT VALUES"
    elif source == 1:
        text += f" (a, b) {draw(select())}"
    else:
        text += f" (b, c) VALUES ({draw(expression())}, {draw(expression(0))})"
    if source and draw(MAYBE) and verb.startswith("INSERT") and "SELECT" not in text:
        text += draw(
            st.sampled_from(
                [
                    " ON CONFLICT DO NOTHING",
                    " ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = 1 WHERE 1",
                    " ON CONFLICT (a) DO UPDATE SET (b, c) = (1, 2)",
                ]
            )
        )
    return text + draw(returning())


@st.composite
def update(draw: st.DrawFn) -> str:
    text = f"{draw(with_clause())}UPDATE{draw(CONFLICT)}{draw(SPACE)}{draw(NAME)}"
    text += draw(st.sampled_from(["", "", " AS z", " NOT INDEXED"]))
    text += f" SET{draw(SPACE)}b = {draw(expression())}"
    text += draw(st.sampled_from(["", ", c = 1", ', (b, "select") = (1, 2)', ", [c]=b"]))
    if draw(st.integers(0, 3)) == 0:
        text += f" FROM ({draw(select())}) AS f"
    if draw(MAYBE):
        text += f" WHERE {draw(expression())}"
    return text + draw(returning())


@st.composite
def delete(draw: st.DrawFn) -> str:
    text = f"{draw(with_clause())}DELETE{draw(SPACE)}FROM{draw(SPACE)}{draw(NAME)}"
    text += draw(st.sampled_from(["", " AS z", " NOT INDEXED"]))
    if draw(MAYBE):
        text += f" WHERE {draw(expression())}"
    return text + draw(returning())


@st.composite
def read(draw: st.DrawFn) -> str:
    return draw(with_clause()) + draw(select())


@st.composite
def ddl(draw: st.DrawFn) -> str:
    new = draw(st.sampled_from(["n", "main.n", '"n n"', "[insert]", "temp.n"]))
    missing = draw(st.sampled_from(["", " IF NOT EXISTS"]))
    temp = draw(st.sampled_from(["", " TEMP", " TEMPORARY"])) if "." not in new else ""
    body = "INSERT INTO log VALUES (1); UPDATE u SET b = CASE WHEN 1 THEN 2 END; SELECT 1;"
    forms = [
        f"CREATE{temp} TABLE{missing} {new} (a INTEGER PRIMARY KEY, b DEFAULT (1), CHECK (b > 0))",
        f"CREATE{temp} TABLE{missing} {new} AS {draw(select(1))}",
        f"CREATE{temp} VIEW{missing} {new} AS {draw(read())}",
        f"CREATE UNIQUE INDEX{missing} {new} ON t (b, c DESC) WHERE b > 1",
        f"CREATE INDEX{missing} ix ON u (lower(b))",
        f"CREATE{temp} TRIGGER{missing} {new} AFTER UPDATE OF b ON t WHEN 1 BEGIN {body} END",
        f"CREATE TRIGGER{missing} tr BEFORE DELETE ON u FOR EACH ROW BEGIN {body} END",
        "CREATE VIRTUAL TABLE ft USING fts5 (a, b)",
        f"ALTER TABLE {draw(NAME)} RENAME TO renamed",
        f"ALTER TABLE {draw(NAME)} ADD COLUMN d TEXT DEFAULT 'x; y'",
        "ALTER TABLE t RENAME COLUMN c TO d",
        f"DROP TABLE {draw(NAME)}",
        "DROP VIEW IF EXISTS v",
        "DROP INDEX i",
        "DROP TRIGGER main.on_t",
    ]
    return draw(st.sampled_from(forms))


OTHER = st.sampled_from(
    [
        "BEGIN", "BEGIN IMMEDIATE TRANSACTION", "COMMIT", "END", "ROLLBACK", "SAVEPOINT s",
        "RELEASE s", "ROLLBACK TO s", "PRAGMA user_version", "PRAGMA main.user_version = 5",
        "PRAGMA table_info(t)", "ATTACH ':memory:' AS x", "DETACH other", "ANALYZE", "ANALYZE t",
        "REINDEX", "REINDEX t",
    ]
)  # fmt: skip


@st.composite
def statement(draw: st.DrawFn) -> str:
    weighted = [insert(), insert(), update(), update(), delete(), read(), ddl(), OTHER]
    text = draw(weighted[draw(st.integers(0, len(weighted) - 1))])
    if draw(st.integers(0, 3)) == 0:
        text = draw(st.sampled_from([str.lower, str.swapcase]))(text)
    before = draw(st.sampled_from(["", "", "\n", "/* a */ ", "-- b\n", "\ufeff", " \v", "\f"]))
    return before + text + draw(st.sampled_from(["", "", " ", "\t\v", "\n--", "/*", "\r\ufeff"]))


def test_generated_statements(watched: Watched) -> None:
    counts = {"generated": 0, "accepted": 0}
    kinds: dict[str, int] = {}
    wrong: list[object] = []

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(statement())
    def compare(sql: str) -> None:
        counts["generated"] += 1
        expected = watched.verdict(sql)
        if expected is None:
            return
        counts["accepted"] += 1
        kinds[expected[0]] = kinds.get(expected[0], 0) + 1
        if trouble := disagreement(sql, *expected):
            wrong.append((sql, expected, trouble))

    compare()
    print(f"seed {SEED}: {counts}, {kinds}, {len(wrong)} disagreements")
    assert not wrong, wrong[:5]
    assert counts["accepted"] >= counts["generated"] / 2
    assert kinds["write"] > EXAMPLES / 5
    assert set(kinds) == {"read", "write", "ddl", "txn", "other"}


def disagreement(sql: str, kind: str, verb: str | None, tables: set[str]) -> str | None:
    """What we say otherwise than SQLite does."""
    found = classify(sql).statements
    if len(found) != 1:
        return f"{len(found)} statements"
    (ours,) = found
    if ours.kind != kind or (verb is not None and ours.verb != verb):
        return repr(ours)
    if kind == "write" and (ours.table or "").lower() not in {name.lower() for name in tables}:
        return repr(ours)
    return None


def test_labelled_statements() -> None:
    if not LABELLED.exists():
        pytest.skip("NOT TESTED: the statements that SQLite labelled are not beside the project")
    writes = wrong_tables = 0
    wrong = []
    with gzip.open(LABELLED, "rt", encoding="utf-8") as lines:
        labels = [json.loads(line) for line in lines]
    for label in labels:
        statements = classify(label["sql"]).statements
        verdicts = [(ours.kind, ours.verb) for ours in statements]
        if verdicts != [(label["kind"], label["verb"])]:
            wrong.append((label["sql"], verdicts))
        elif label["kind"] == "write":
            writes += 1
            wrong_tables += not same_table(statements[0].table, label["tables"])
    print(f"{len(labels)} statements, {len(wrong)} wrong; {writes} writes, {wrong_tables} tables")
    assert labels
    assert not wrong, wrong[:5]
    assert wrong_tables * 1000 <= writes


def same_table(table: str | None, tables: list[str]) -> bool:
    """SQLite labels the schema's table by its old name."""
    name = (table or "").lower()
    name = {
        "sqlite_schema": "sqlite_master", "sqlite_temp_schema": "sqlite_temp_master"
    }.get(name, name)  # fmt: skip
    return name in {label.lower() for label in tables}
