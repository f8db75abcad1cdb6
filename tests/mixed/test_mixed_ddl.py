"""DDL made fit for a copy: no triggers, foreign keys and CHECKs."""

from __future__ import annotations

import sqlite3

import pytest

from afterquery._mixed._ddl import fit_for_copy

CASES = {
    "CREATE TABLE t (id INTEGER PRIMARY KEY, p INT NOT NULL REFERENCES p (id) ON DELETE SET NULL"
    " ON UPDATE SET DEFAULT NOT DEFERRABLE INITIALLY DEFERRED DEFAULT NULL)": (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, p INT NOT NULL DEFAULT NULL)"
    ),
    "CREATE TABLE t (a TEXT CHECK (a IN ('x, y', 'z)')) COLLATE NOCASE, CONSTRAINT f FOREIGN KEY"
    " (a) REFERENCES p (a) CONSTRAINT c CHECK (a > 1) UNIQUE (a), CHECK (1)) WITHOUT ROWID": (
        "CREATE TABLE t (a TEXT COLLATE NOCASE, UNIQUE (a)) WITHOUT ROWID"
    ),
    "create table x(a constraint nn not null constraint r references y, b as (a+1) stored"
    " check(b>0), [check] int default (1), d default -1 references z match full)": (
        "create table x(a constraint nn not null, b as (a+1) stored, [check] int default (1),"
        " d default -1)"
    ),
    "CREATE TABLE k (\"references\" TEXT DEFAULT 'check' NOT NULL ON CONFLICT REPLACE)": (
        "CREATE TABLE k (\"references\" TEXT DEFAULT 'check' NOT NULL ON CONFLICT REPLACE)"
    ),
    "CREATE TABLE g (a, b GENERATED ALWAYS AS (a || ', x') VIRTUAL NOT NULL) STRICT": (
        "CREATE TABLE g (a, b GENERATED ALWAYS AS (a || ', x') VIRTUAL NOT NULL) STRICT"
    ),
    "ALTER TABLE x ADD COLUMN y INT REFERENCES z (id) DEFAULT 5": (
        "ALTER TABLE x ADD COLUMN y INT DEFAULT 5"
    ),
    "ALTER TABLE x ADD y CHECK (y > 1)": "ALTER TABLE x ADD y",
    "ALTER TABLE x RENAME TO y": "ALTER TABLE x RENAME TO y",
    "CREATE TABLE z AS SELECT 1": "CREATE TABLE z AS SELECT 1",
    "CREATE INDEX i ON t (a) WHERE a > 1": "CREATE INDEX i ON t (a) WHERE a > 1",
    "CREATE VIRTUAL TABLE f USING fts5 (a, content='t')": (
        "CREATE VIRTUAL TABLE f USING fts5 (a, content='t')"
    ),
}


@pytest.mark.parametrize(("sql", "fit"), CASES.items())
def test_what_a_copy_gets(sql: str, fit: str) -> None:
    assert fit_for_copy(sql) == fit


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER a AFTER INSERT ON b BEGIN SELECT 1; END",
        "CREATE TEMP TRIGGER IF NOT EXISTS a AFTER INSERT ON b BEGIN SELECT 1; END",
        "DROP TRIGGER IF EXISTS a",
    ],
)
def test_a_copy_has_no_triggers(sql: str) -> None:
    assert fit_for_copy(sql) is None


def test_the_columns_of_a_copy_are_those_of_the_table() -> None:
    sql = next(iter(CASES))
    with sqlite3.connect(":memory:") as db:
        db.execute(fit_for_copy(sql) or "")
        assert not db.execute("PRAGMA foreign_key_list(t)").fetchall()
        names = [row[1:5] for row in db.execute("PRAGMA table_info(t)")]
    db.close()
    assert names == [("id", "INTEGER", 0, None), ("p", "INT", 1, "NULL")]
