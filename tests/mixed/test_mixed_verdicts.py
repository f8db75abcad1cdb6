"""How statements travel, by what the schema and the connection make of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from afterquery._mixed import Kind, Mixed

SCHEMA = """
CREATE TABLE plain (id INTEGER PRIMARY KEY, a, b);
CREATE TABLE dated (id INTEGER PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP, b);
CREATE TABLE kv (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE nullable (k TEXT PRIMARY KEY, v);
CREATE TABLE named (k TEXT NOT NULL UNIQUE, v);
CREATE TABLE audited (id INTEGER PRIMARY KEY, a);
CREATE TABLE log (what);
CREATE TRIGGER audit AFTER UPDATE OF a ON audited BEGIN INSERT INTO log VALUES (new.a); END;
CREATE TABLE parent (id INTEGER PRIMARY KEY, a);
CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE);
CREATE TABLE tree (id INTEGER PRIMARY KEY, up REFERENCES tree ON DELETE SET NULL);
CREATE TABLE checked (id INTEGER PRIMARY KEY, a CHECK (a > 0));
CREATE TABLE strict (id INTEGER PRIMARY KEY, a INTEGER) STRICT;
CREATE VIEW view AS SELECT a FROM plain;
CREATE TRIGGER through INSTEAD OF INSERT ON view
BEGIN INSERT INTO plain (a) VALUES (new.a); END;
CREATE TEMP TABLE mine (a);
CREATE TABLE hidden (a);
CREATE TEMP TABLE hidden (a);
CREATE TABLE collated (id INTEGER PRIMARY KEY, a COLLATE own);
ATTACH ':memory:' AS side;
CREATE TABLE side.aside (a);
"""

STATEMENT, NUMBERED, ROW = Kind.STATEMENT, Kind.NUMBERED, Kind.ROW
ROWS, OTHERS, SCHEMA_CHANGE = Kind.ROWS, Kind.OTHERS, Kind.SCHEMA

VERDICTS = {
    "INSERT INTO plain (a) VALUES (?)": NUMBERED,
    "INSERT INTO plain (a) VALUES (?), (?)": NUMBERED,
    "INSERT INTO plain (a) VALUES (?) RETURNING id": NUMBERED,
    "INSERT OR IGNORE INTO plain (a) VALUES (?)": NUMBERED,
    "INSERT INTO plain VALUES (?, ?, ?)": STATEMENT,
    "INSERT INTO plain VALUES (NULL, ?, ?)": ROW,
    "INSERT INTO plain (id, a) VALUES (5, ?), (6, ?)": STATEMENT,
    "INSERT INTO plain (a) VALUES (?) ON CONFLICT DO NOTHING": ROWS,
    "INSERT INTO plain (id, a) VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET a = 2": STATEMENT,
    "INSERT INTO plain (a) VALUES (random())": ROW,
    "INSERT INTO plain (a) VALUES (CURRENT_TIMESTAMP)": ROW,
    "INSERT INTO plain (a) VALUES (own(?))": ROW,
    "INSERT INTO plain (a) VALUES ((SELECT max(a) FROM plain))": ROW,
    "INSERT INTO plain (a) SELECT a FROM plain": ROWS,
    "INSERT INTO plain (a) VALUES (random()), (1)": ROWS,
    'INSERT INTO plain (a) VALUES ("text")': ROW,
    "UPDATE plain SET a = ? WHERE id = ?": STATEMENT,
    "UPDATE plain SET a = b + 1": STATEMENT,
    "UPDATE plain SET a = abs(b) WHERE b IN (1, 2) AND a BETWEEN 1 AND 2": STATEMENT,
    "UPDATE plain SET a = a || 'x'": ROWS,
    "UPDATE plain SET a = CAST(b AS TEXT)": ROWS,
    "UPDATE plain SET a = lower(b)": ROWS,
    "UPDATE plain SET a = round(b)": ROWS,
    "UPDATE plain SET a = 1 WHERE b LIKE ?": ROWS,
    "UPDATE plain SET id = id + 1": ROWS,
    "UPDATE plain SET a = 1 WHERE id = (SELECT id FROM plain LIMIT 1)": ROWS,
    "UPDATE plain SET a = 1 WHERE a IN log": ROWS,
    "UPDATE plain SET a = log.what FROM log WHERE log.what = plain.b": ROWS,
    "UPDATE OR IGNORE plain SET a = 1": ROWS,
    "WITH x AS (SELECT 1) UPDATE plain SET a = 1": ROWS,
    "DELETE FROM plain WHERE id = ?": STATEMENT,
    "DELETE FROM plain": STATEMENT,
    "DELETE FROM plain WHERE a > random()": ROWS,
    "INSERT INTO dated (b) VALUES (?)": ROW,
    "INSERT INTO dated (b) VALUES (?), (?)": ROWS,
    "INSERT INTO dated (at, b) VALUES (?, ?)": NUMBERED,
    "INSERT INTO dated DEFAULT VALUES": ROW,
    "REPLACE INTO dated (at, b) VALUES (?, ?)": ROWS,
    "UPDATE dated SET b = 1": STATEMENT,
    "INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v": STATEMENT,
    "REPLACE INTO kv VALUES (?, ?)": STATEMENT,
    "INSERT INTO nullable VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = 1": ROWS,
    "INSERT INTO named VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = 1": ROWS,
    "UPDATE named SET v = 1 WHERE rowid = 1": STATEMENT,
    "UPDATE audited SET a = 1": ROWS,
    "UPDATE audited SET id = 1 WHERE id = 2": ROWS,
    "INSERT INTO audited (a) VALUES (1)": NUMBERED,
    "DELETE FROM parent WHERE id = 1": ROWS,
    "UPDATE parent SET a = 1": STATEMENT,
    "INSERT INTO parent (a) VALUES (1)": NUMBERED,
    "REPLACE INTO parent VALUES (1, 2)": ROWS,
    "INSERT INTO child (p) VALUES (1)": NUMBERED,
    "DELETE FROM child WHERE id = 1": STATEMENT,
    "DELETE FROM tree WHERE id = 1": ROWS,
    "INSERT OR IGNORE INTO checked (a) VALUES (-1)": ROW,
    "INSERT INTO checked (a) VALUES (1)": NUMBERED,
    "UPDATE strict SET a = 1": ROWS,
    "INSERT INTO view VALUES (1)": ROWS,
    "INSERT INTO mine VALUES (1)": OTHERS,
    "INSERT INTO hidden VALUES (1)": OTHERS,
    "INSERT INTO main.hidden VALUES (1)": NUMBERED,
    "INSERT INTO aside VALUES (1)": OTHERS,
    "INSERT INTO plain (a) SELECT a FROM mine": ROWS,
    "UPDATE collated SET a = 1 WHERE a = 'x'": ROWS,
    "UPDATE missing SET a = 1": ROWS,
    "CREATE TEMP TABLE other (a)": OTHERS,
    "CREATE TABLE side.other (a)": OTHERS,
    "DROP TABLE hidden": OTHERS,
    "CREATE TABLE other (a)": SCHEMA_CHANGE,
    "DROP TABLE parent": SCHEMA_CHANGE,
    "ALTER TABLE plain ADD COLUMN c": SCHEMA_CHANGE,
    "UPDATE sqlite_master SET sql = ''": Kind.LOST,
}


@pytest.fixture
def mixed() -> Iterator[Mixed]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.create_function("own", 1, lambda value: value, deterministic=True)
    db.create_function("lower", 1, str.lower, deterministic=True)
    db.create_collation("own", lambda a, b: (a > b) - (a < b))
    db.executescript(SCHEMA)
    db.execute("PRAGMA foreign_keys = ON")
    doubts: list[str] = []
    yield Mixed(db, lambda *_: None, doubts.append)
    assert not doubts
    db.close()


@pytest.mark.parametrize(("sql", "kind"), VERDICTS.items())
def test_how_a_statement_travels(mixed: Mixed, sql: str, kind: Kind) -> None:
    verdict = mixed.judge(sql, (1, 2, 3))
    assert verdict.kind is kind, str(verdict)
    assert verdict.reason or kind in {STATEMENT, SCHEMA_CHANGE}
    assert mixed.judge(sql, (1, 2, 3)) is verdict


def test_an_id_that_is_none_is_drawn(mixed: Mixed) -> None:
    sql = "INSERT INTO plain (a, id) VALUES (?, ?)"
    assert mixed.judge(sql, (1, 2)).kind is STATEMENT
    assert mixed.judge(sql, (1, None)).kind is ROW
    sql = "INSERT INTO plain (a, id) VALUES (:a, :id)"
    assert mixed.judge(sql, {"a": 1, "id": 2}).kind is STATEMENT
    assert mixed.judge(sql, {"a": 1, "id": None}).kind is ROW


def test_the_id_is_named_for_the_replica(mixed: Mixed) -> None:
    verdict = mixed.judge("INSERT INTO plain (a, b) VALUES (?, -1), (2, ?) RETURNING id")
    assert verdict.numbered is not None
    assert verdict.sql == ('INSERT INTO plain ("a", "b", "id") VALUES (?, -1, ?), (2, ?, ?)')
    assert verdict.numbered.parameters(("x", "y"), 8) == ("x", 7, "y", 8)


def test_settings_decide(mixed: Mixed) -> None:
    assert mixed.judge("DELETE FROM parent").kind is ROWS
    mixed._own.connection.execute("PRAGMA foreign_keys = OFF")
    mixed.other("PRAGMA foreign_keys = OFF")
    assert mixed.judge("DELETE FROM parent").kind is STATEMENT


def test_a_function_of_the_applications_decides(mixed: Mixed) -> None:
    assert mixed.judge("UPDATE plain SET a = abs(b)").kind is STATEMENT
    mixed._own.connection.create_function("ABS", 1, lambda _: 7)
    mixed.registered()
    assert mixed.judge("UPDATE plain SET a = abs(b)").kind is ROWS


def test_verdicts_are_told_in_words(mixed: Mixed) -> None:
    assert str(mixed.judge("UPDATE audited SET a = 1")) == (
        "travels as the rows that it changed: it fires the trigger audit"
    )
    assert str(mixed.judge("INSERT INTO dated (b) VALUES (1)")) == (
        "travels as the row that it inserted: it uses the DEFAULT of at, which reads the clock"
    )
