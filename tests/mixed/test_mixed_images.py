"""Row images: every kind of key and value, and rows that pass through each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from afterquery._mixed import Kind
from mixed.schemas import Schema
from mixed.world import Primary, Replica, content


class Both:
    """A primary and its replica with this schema."""

    def __init__(self, *texts: str) -> None:
        self.primary = Primary()
        for text in texts:
            self.primary.db.execute(text)
        self.replica = Replica(Schema(list(texts)))

    def run(self, sql: str, *given: Any, kind: Kind | None = Kind.ROWS) -> list[str]:
        """Run a statement on one, and what travels on the other; the texts that did."""
        verdict = self.primary.mixed.judge(sql, given)
        assert kind in {None, verdict.kind}, str(verdict)
        self.primary.execute(sql, given)
        sent = self.primary.committed
        for one in sent:
            self.replica.apply(one)
        assert content(self.primary.db) == content(self.replica.db)
        assert not self.primary.doubts
        return [text for text, _ in sent]

    def close(self) -> None:
        self.primary.db.close()
        self.replica.db.close()


@pytest.fixture
def both() -> Iterator[Any]:
    made: list[Both] = []

    def make(*texts: str) -> Both:
        made.append(Both(*texts))
        return made[-1]

    yield make
    for one in made:
        one.close()


TEXTS = ["a", "A", "é", "", "x\0y", "it's", '"', "\U0001f600", "1", "1.0"]
BLOBS = [b"", b"a", b"\xff\x00", bytes(range(256))]
NUMBERS = [0, -1, 1.5, 1e300, -1e-300, 2**63 - 1, -(2**63), 2**53 + 1, float("inf")]
KEYS = {
    "the rowid": "CREATE TABLE t (k, v)",
    "a column that is the rowid": "CREATE TABLE t (id INTEGER PRIMARY KEY, k, v)",
    "a nullable key": "CREATE TABLE t (k PRIMARY KEY, v)",
    "a key that is not null": "CREATE TABLE t (k NOT NULL PRIMARY KEY, v)",
    "no rowid": "CREATE TABLE t (k PRIMARY KEY, v) WITHOUT ROWID",
    "two columns": "CREATE TABLE t (k, j DEFAULT 'x', v, PRIMARY KEY (k, j)) WITHOUT ROWID",
    "columns called rowid and oid": "CREATE TABLE t (k, rowid, v, oid)",
    "a key without case": "CREATE TABLE t (k COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID",
    "a descending id": "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, k, v)",
    "strict": "CREATE TABLE t (k ANY PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID",
}


@pytest.mark.parametrize("table", KEYS.values(), ids=KEYS)
def test_every_value_with_every_key(both: Any, table: str) -> None:
    one = both(table)
    for number, value in enumerate([*TEXTS, *BLOBS, *NUMBERS]):
        one.run("INSERT OR IGNORE INTO t (k, v) VALUES (?, random())", value, kind=None)
        if number % 3 == 0:
            one.run("UPDATE t SET v = random() WHERE k = ?", value)
    one.run("UPDATE t SET v = random()")
    one.run("UPDATE OR IGNORE t SET k = v WHERE v > random()")
    one.run("DELETE FROM t WHERE v > random()")
    one.run("DELETE FROM t WHERE random() IS NOT NULL")
    assert content(one.replica.db) == {"t": []}


def test_a_text_that_is_no_utf8(both: Any) -> None:
    one = both("CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
    one.run("INSERT INTO t SELECT CAST(x'ff61' AS TEXT), CAST(x'fe' AS TEXT)")
    one.run("UPDATE t SET v = random()")
    one.run("DELETE FROM t WHERE random() IS NOT NULL")


def test_rows_that_swap_unique_values(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, place UNIQUE, name UNIQUE)")
    one.run("INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')", kind=Kind.STATEMENT)
    one.run("UPDATE t SET place = -place")
    one.run("UPDATE t SET place = 4 + place")
    one.run("UPDATE t SET name = (SELECT 'x' || t.place) WHERE id <> 2")


def test_keys_that_change_place(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    one.run("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)", kind=Kind.STATEMENT)
    one.run("UPDATE t SET id = -id")
    one.run("UPDATE t SET id = id + 10 WHERE id < random() % 1 + 0")


def test_replace_deletes_by_each_unique_index(both: Any) -> None:
    one = both(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE, b NOT NULL DEFAULT 'd', c)",
        "CREATE UNIQUE INDEX by_case ON t (lower(b))",
        "CREATE UNIQUE INDEX some ON t (c COLLATE NOCASE) WHERE c IS NOT NULL",
    )
    for row in ((1, 1, "x", "p"), (2, 2, "y", "q"), (3, 3, "z", None), (4, 4, "D", "s")):
        one.run("INSERT INTO t VALUES (?, ?, ?, ?)", *row, kind=Kind.STATEMENT)
    one.run("REPLACE INTO t VALUES (own(9), 1, 'Y', 'S')")
    one.run("UPDATE OR REPLACE t SET c = 'P' WHERE id = 3")
    one.run("INSERT OR REPLACE INTO t (id, a, b) VALUES (own(10), 5, NULL)")


def test_cascades_and_triggers_that_trigger(both: Any) -> None:
    one = both(
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE)",
        "CREATE TABLE d (id INTEGER PRIMARY KEY, c REFERENCES c ON DELETE SET NULL)",
        "CREATE TABLE log (what DEFAULT CURRENT_TIMESTAMP, n)",
        "CREATE TRIGGER one AFTER DELETE ON c BEGIN INSERT INTO log (n) VALUES (old.id); END",
        "CREATE TRIGGER two AFTER INSERT ON log BEGIN UPDATE d SET id = id + 10; END",
    )
    one.primary.execute("PRAGMA foreign_keys = ON")
    one.run("INSERT INTO p VALUES (1), (2)", kind=None)
    one.run("INSERT INTO c VALUES (1, 1), (2, 1), (3, 2)", kind=None)
    one.run("INSERT INTO d VALUES (1, 1), (2, 3)", kind=None)
    one.run("DELETE FROM p WHERE id = 1")
    one.run("DROP TABLE p", kind=Kind.SCHEMA)


def test_savepoints(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    one.run("BEGIN", kind=None)
    one.primary.execute("INSERT INTO t (a) SELECT 1")
    one.primary.execute("SAVEPOINT s")
    one.primary.execute("UPDATE t SET a = random()")
    one.primary.execute("INSERT INTO t (a) SELECT 2")
    one.primary.execute("ROLLBACK TO s")
    one.primary.execute("INSERT INTO t (a) SELECT 3")
    one.run("COMMIT", kind=None)
    assert content(one.replica.db) == {"t": [("1", "1"), ("2", "3")]}


def test_triggers_that_went_with_a_rollback_come_again(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    one.primary.execute("BEGIN")
    one.primary.execute("INSERT INTO t (a) SELECT 1")
    one.primary.execute("ROLLBACK")
    one.run("INSERT INTO t (a) SELECT 2")


def test_a_table_made_anew(both: Any) -> None:
    one = both(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE)",
    )
    one.run("INSERT INTO t VALUES (1, 1)", kind=None)
    one.run("INSERT INTO c VALUES (1, 1)", kind=None)
    one.run("UPDATE t SET a = random()")
    for sql in (
        "CREATE TABLE new (id INTEGER PRIMARY KEY, a, b DEFAULT (random()))",
        "INSERT INTO new (id, a) SELECT id, a FROM t",
        "DROP TABLE t",
        "ALTER TABLE new RENAME TO t",
    ):
        one.run(sql, kind=None)
    one.run("UPDATE t SET a = random()")
    one.run("CREATE TABLE filled AS SELECT a, random() AS b FROM t", kind=Kind.SCHEMA)


def test_a_table_that_views_look_into_is_made_anew(both: Any) -> None:
    """With the old ALTER TABLE; the replica has the new one, which looks at views."""
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", "CREATE VIEW v AS SELECT a FROM t")
    one.run("INSERT INTO t (a) VALUES (1)", kind=Kind.NUMBERED)
    one.run("ALTER TABLE t RENAME COLUMN a TO b", kind=Kind.SCHEMA)
    one.primary.execute("PRAGMA legacy_alter_table = ON")
    one.run("CREATE TABLE new (id INTEGER PRIMARY KEY, b TEXT)", kind=Kind.SCHEMA)
    one.run("INSERT INTO new SELECT * FROM t")
    one.run("DROP TABLE t", kind=Kind.SCHEMA)
    one.run("ALTER TABLE new RENAME TO t", kind=Kind.SCHEMA)
    assert one.replica.db.execute("SELECT * FROM v").fetchall() == [("1",)]


def test_after_the_largest_id(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    one.run("INSERT INTO t VALUES (?, 1)", 2**63 - 1, kind=Kind.STATEMENT)
    one.run("INSERT INTO t (a) VALUES (?)", 2, kind=Kind.NUMBERED)
    one.run("INSERT INTO t (a) VALUES (?), (?)", 3, 4, kind=Kind.NUMBERED)


def test_rows_that_vacuum_moves(both: Any) -> None:
    one = both("CREATE TABLE t (a)")
    one.run("INSERT INTO t VALUES (1), (2), (3)", kind=Kind.NUMBERED)
    one.run("DELETE FROM t WHERE a = 1", kind=Kind.STATEMENT)
    one.primary.execute("VACUUM")
    assert one.primary.sent
    one.run("UPDATE t SET a = random() WHERE rowid = 1")


def test_many_rows_go_in_few_statements(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
    assert len(one.run(f"INSERT INTO t {numbers} SELECT i, hex(i) FROM n")) == 25
    assert len(one.run("UPDATE t SET a = random()")) == 25
    assert len(one.run("DELETE FROM t WHERE random() IS NOT NULL")) == 25


def test_long_rows_are_cut_apart(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    texts = one.run("INSERT INTO t (id, a) SELECT value, zeroblob(20000) FROM json_each('[1,2,3]')")
    assert len(texts) == 3


def test_where_a_temporary_trigger_may_skip_ours(both: Any) -> None:
    one = both(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE TEMP TRIGGER x AFTER UPDATE ON main.t BEGIN SELECT RAISE(IGNORE); END",
    )
    one.run("INSERT INTO t VALUES (1, 1), (2, 2)", kind=None)
    one.run("UPDATE t SET a = a + 1")


def test_where_a_temporary_trigger_fails_before_ours(both: Any) -> None:
    """OR FAIL holds for what triggers do, too, and keeps the row that they were fired for."""
    one = both(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        "CREATE TABLE o (id INTEGER PRIMARY KEY, a NOT NULL)",
        "CREATE TEMP TRIGGER x AFTER INSERT ON main.t"
        " BEGIN INSERT OR IGNORE INTO o (a) VALUES (NULL); END",
    )
    with pytest.raises(sqlite3.IntegrityError):
        one.run("INSERT OR FAIL INTO t (a) VALUES (1), (2)")
    assert one.primary.db.execute("SELECT a FROM t").fetchall() == [(1,)]
    one.run("UPDATE t SET a = a WHERE id = 99", kind=Kind.STATEMENT)


def test_two_keys_that_name_one_row(both: Any) -> None:
    """A trigger sees the number that becomes a text."""
    one = both(
        "CREATE TABLE t (id TEXT PRIMARY KEY, n UNIQUE) WITHOUT ROWID",
        "CREATE TABLE log (k)",
        "CREATE TRIGGER x AFTER INSERT ON log"
        " BEGIN INSERT OR REPLACE INTO t (id) VALUES (NEW.k); END",
    )
    one.run("INSERT INTO log VALUES ('0'), (0), (1)")


def test_rows_before_an_id_that_is_no_number(both: Any) -> None:
    """SQLite refuses it, and keeps them where nothing else can fail: a fault of its own."""
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    one.primary.execute("BEGIN")
    for given in (7, 8.0, "9", "1e1"):
        with pytest.raises(sqlite3.IntegrityError, match="mismatch"):
            one.primary.execute("INSERT OR IGNORE INTO t VALUES (?, 1), (?, 2)", (given, b""))
    one.run("COMMIT", kind=None)
    assert one.primary.db.execute("SELECT id FROM t").fetchall() == [(7,), (8,), (9,), (10,)]


def test_rows_before_a_value_that_a_strict_table_refuses(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER) STRICT")
    one.run("INSERT INTO t VALUES (1, 1), (2, 2)", kind=None)
    one.primary.execute("BEGIN")
    for sql in (
        "INSERT OR IGNORE INTO t (a) VALUES (1), ('x')",
        "UPDATE OR IGNORE t SET a = CASE id WHEN 1 THEN 5 ELSE 'x' END",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="cannot store"):
            one.primary.execute(sql)
    one.run("COMMIT", kind=None)


def test_a_key_that_foreign_keys_compare_as_a_number(both: Any) -> None:
    """SQLite then shows triggers the key as a number."""
    for tail in ("", " WITHOUT ROWID"):
        one = both(f"CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, u REAL REFERENCES t (id)){tail}")
        one.primary.execute("PRAGMA foreign_keys = ON")
        one.run("INSERT INTO t (id) VALUES ('2.0')", kind=None)
        one.run("UPDATE t SET id = '3.0'")
        one.run("DELETE FROM t WHERE random() IS NOT NULL")


def test_a_failing_statement_that_leaves_rows(both: Any) -> None:
    one = both("CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)")
    one.run("INSERT INTO t VALUES (1, 1)", kind=None)
    for sql in (
        "INSERT OR FAIL INTO t (a) VALUES (2), (1), (3)",
        "UPDATE OR FAIL t SET a = 7",
        "INSERT INTO t (a) VALUES (9), (7)",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            one.run(sql, kind=None)
        one.run("UPDATE t SET a = a WHERE id = 99")


INTO_INDEX = "INSERT INTO find (rowid, title) VALUES (new.id, new.title);"
FROM_INDEX = "INSERT INTO find (find, rowid, title) VALUES ('delete', old.id, old.title);"
FULL_TEXT = [
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, title UNIQUE, body DEFAULT (hex(randomblob(9))))",
    "CREATE VIRTUAL TABLE find USING fts5 (title, content='notes', content_rowid='id')",
    f"CREATE TRIGGER find_i AFTER INSERT ON notes BEGIN {INTO_INDEX} END",
    f"CREATE TRIGGER find_d AFTER DELETE ON notes BEGIN {FROM_INDEX} END",
    f"CREATE TRIGGER find_u AFTER UPDATE ON notes BEGIN {FROM_INDEX} {INTO_INDEX} END",
]


def test_a_full_text_index_that_triggers_keep(both: Any) -> None:
    """The replica has these triggers, too, and does by them what was done here."""
    one = both()
    for text in FULL_TEXT:
        assert one.run(text, kind=Kind.SCHEMA) == [text]
    one.run("INSERT INTO notes (title) VALUES ('red apple')", kind=Kind.ROW)
    one.run("INSERT INTO notes (title, body) VALUES ('green pear', 'b')", kind=Kind.NUMBERED)
    one.run("INSERT INTO notes (title) SELECT 'blue apple' UNION SELECT 'apple'")
    one.run("UPDATE notes SET title = title || '!' WHERE id > 2")
    one.run("UPDATE notes SET body = 1 WHERE id = 1", kind=Kind.STATEMENT)
    one.run("DELETE FROM notes WHERE id = 1", kind=Kind.STATEMENT)
    one.run("INSERT INTO find (find) VALUES ('integrity-check')", kind=Kind.STATEMENT)
    for word in ("apple", "pear", "red", "green"):
        query = f"SELECT rowid FROM find WHERE find MATCH '{word}' ORDER BY rowid"
        here, there = (side.db.execute(query).fetchall() for side in (one.primary, one.replica))
        assert here == there
    assert one.run("DROP TRIGGER find_u", kind=Kind.SCHEMA) == ["DROP TRIGGER find_u"]


def test_an_index_that_replace_leaves_behind_is_told() -> None:
    """REPLACE fires no trigger for what it deletes; on the replica, that is deleted."""
    one = Both()
    for text in FULL_TEXT:
        one.run(text, kind=Kind.SCHEMA)
    one.primary.execute("REPLACE INTO notes (title) VALUES ('x')")
    (doubt,) = one.primary.doubts
    assert "keeps a virtual table" in doubt
    one.close()


def test_a_trigger_that_keeps_an_index_and_more_is_told() -> None:
    one = Both()
    one.run("CREATE VIRTUAL TABLE find USING fts5 (a)", kind=Kind.SCHEMA)
    one.run("CREATE TABLE t (a)", kind=Kind.SCHEMA)
    one.run("CREATE TABLE log (a)", kind=Kind.SCHEMA)
    text = (
        "CREATE TRIGGER x AFTER INSERT ON t"
        " BEGIN INSERT INTO find VALUES (new.a); INSERT INTO log VALUES (new.a); END"
    )
    assert one.run(text, kind=Kind.SCHEMA) == []
    one.primary.execute("INSERT INTO t VALUES ('x')")
    (doubt,) = one.primary.doubts
    assert "changes a virtual table" in doubt
    one.close()


def test_a_capture_that_cannot_be_had_is_told() -> None:
    one = Both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    one.primary.db.execute("INSERT INTO t VALUES (1, 1)")

    def strict(action: int, *_: object) -> int:
        denied = action == sqlite3.SQLITE_CREATE_TEMP_TRIGGER
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    one.primary.db.set_authorizer(strict)
    one.primary.execute("UPDATE t SET a = random()")
    assert one.primary.db.execute("SELECT a FROM t").fetchone() != (1,)
    (doubt,) = one.primary.doubts
    assert "not authorized" in doubt
    assert "compare the replicas" in doubt
    one.close()
