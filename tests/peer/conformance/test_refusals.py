"""What the storage engine does not allow, and what it does."""

from __future__ import annotations

import pytest

from support.client import Client

NOT_AUTHORIZED = "not authorized: SQLITE_AUTH"


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "BEGIN IMMEDIATE",
        "/**/begin",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT a",
        "RELEASE a",
        "ROLLBACK TO a",
    ],
)
def test_transaction_control(replica: Client, sql: str) -> None:
    answer = replica.query(sql)
    assert answer.status == 500
    assert answer.error.startswith(
        "To execute a transaction, please use the state.storage.transaction()"
    )
    assert "instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements" in answer.error


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH ':memory:' AS x",
        "DETACH main",
        "CREATE TEMP TABLE x (a)",
        "CREATE TEMPORARY TABLE x (a)",
        "CREATE TABLE temp.x (a)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
        "PRAGMA user_version",
        "PRAGMA user_version = 3",
        "PRAGMA journal_mode",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA synchronous = OFF",
        "PRAGMA writable_schema = ON",
        "PRAGMA encoding",
        "PRAGMA page_size = 512",
        "PRAGMA wal_checkpoint",
        "PRAGMA integrity_check",
        "PRAGMA function_list",
        "PRAGMA nope",
        "PRAGMA table_info",
        "SELECT * FROM pragma_user_version",
        "CREATE TABLE _cf_x (a)",
        "CREATE TABLE _CF_X (a)",
        'CREATE TABLE "_cf_x" (a)',
        "ALTER TABLE t RENAME TO _cf_t",
        "CREATE VIEW _cf_v AS SELECT 1",
        "CREATE INDEX _cf_i ON t (a)",
        "CREATE VIRTUAL TABLE x USING fts4 (a)",
    ],
)
def test_not_authorized(replica: Client, sql: str) -> None:
    replica.run("CREATE TABLE t (a)")
    answer = replica.query(sql)
    assert (answer.status, answer.error) == (500, NOT_AUTHORIZED)
    assert replica.rows("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'") in (
        [("t",)],
        [("t",), ("_cf_KV",)],
    )


@pytest.mark.parametrize("sql", ["VACUUM", "VACUUM INTO 'x.db'"])
def test_vacuum(replica: Client, sql: str) -> None:
    answer = replica.query(sql)
    assert answer.error == "cannot VACUUM from within a transaction: SQLITE_ERROR"


@pytest.mark.parametrize(
    "call",
    [
        "sqlite_version()",
        "sqlite_source_id()",
        "sqlite_compileoption_used('x')",
        "load_extension('x')",
        "power(2, 3)",
        "ceiling(1)",
        "log10(1)",
    ],
)
def test_functions_that_are_refused(replica: Client, call: str) -> None:
    answer = replica.query(f"SELECT {call}")
    assert answer.status == 500
    assert answer.error.startswith("not authorized")
    assert answer.error.endswith(": SQLITE_ERROR")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT random(), randomblob(1), changes(), total_changes(), last_insert_rowid()",
        "SELECT pow(2, 3), ceil(1.5), ln(1), log(1), sin(1)",
        "SELECT strftime('%Y', 'now'), date(), unixepoch(), julianday('now')",
        "SELECT json_object('a', 1), json_extract('[1]', '$[0]')",
        "SELECT * FROM json_each('[1]')",
        "SELECT row_number() OVER () FROM (VALUES (1), (2))",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT * FROM n",
        "EXPLAIN QUERY PLAN SELECT 1",
        "SELECT 1 AS _cf_x",
        "SELECT * FROM sqlite_schema",
        "PRAGMA table_info(t)",
        "PRAGMA table_list",
        "PRAGMA index_list(t)",
        "PRAGMA foreign_key_check",
        "PRAGMA quick_check",
        "PRAGMA defer_foreign_keys = ON",
        "SELECT name FROM pragma_table_info('t')",
        "CREATE TABLE x (_cf_a INTEGER) STRICT",
        "CREATE TABLE x (id INTEGER PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE _cf (a)",
        "CREATE VIRTUAL TABLE x USING rtree (id, a, b)",
        "REINDEX",
        "ANALYZE",
        "PRAGMA optimize",
    ],
)
def test_what_is_allowed(replica: Client, sql: str) -> None:
    replica.run("CREATE TABLE t (a)")
    replica.run(sql)


def test_tables_can_be_altered(replica: Client) -> None:
    replica.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c); CREATE INDEX i ON t (a);"
        "CREATE VIEW v AS SELECT a FROM t; INSERT INTO t VALUES (1, 'a', 'b', 'c')"
    )
    for change in ["RENAME COLUMN a TO x", "RENAME TO u"]:
        replica.run(f"ALTER TABLE t {change}")
    replica.run("ALTER TABLE u DROP COLUMN b; ALTER TABLE u ADD COLUMN d DEFAULT 'd'")
    replica.run("ALTER TABLE u RENAME c TO y; UPDATE u SET y = 'z'")
    answer = replica.query("SELECT * FROM u")
    assert answer.result == [{"id": 1, "x": "a", "y": "z", "d": "d"}]
    assert replica.rows("SELECT * FROM v") == [("a",)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t ADD COLUMN n INTEGER CHECK (n >= 0)",
        "ALTER TABLE t ADD COLUMN n INTEGER NOT NULL",
        "/* first */ alter table t add column n INTEGER CONSTRAINT c CHECK (n > 0)",
    ],
)
def test_a_column_with_a_constraint_can_be_added_anywhere_in_a_text(
    replica: Client, change: str
) -> None:
    replica.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    replica.run(f"{change}; INSERT INTO t VALUES (1, 1)")
    replica.run("DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT")
    assert replica.query(change).result == []
    assert replica.query("INSERT INTO t VALUES (1, -1)").status == (
        500 if "CHECK" in change else 200
    )


def test_a_column_that_the_rows_do_not_allow_is_not_added(replica: Client) -> None:
    replica.run("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
    change = "ALTER TABLE t ADD COLUMN n INTEGER NOT NULL"
    answer = replica.query(f"INSERT INTO t VALUES (2); {change}; INSERT INTO t VALUES (3)")
    assert answer.status == 500
    assert answer.error.startswith("Cannot add a NOT NULL column with default value NULL")
    assert replica.rows("SELECT * FROM t") == [(1,), (2,)]


def test_full_text_search(replica: Client) -> None:
    replica.run(
        "CREATE VIRTUAL TABLE f USING fts5 (a); INSERT INTO f VALUES ('hello world'), ('bye')"
    )
    assert replica.rows("SELECT a FROM f WHERE f MATCH 'hello'") == [("hello world",)]


def test_constraints_can_wait_until_the_end_of_the_text(replica: Client) -> None:
    replica.run("CREATE TABLE p (id PRIMARY KEY); CREATE TABLE c (p REFERENCES p)")
    insert = "INSERT INTO c VALUES (1); INSERT INTO p VALUES (1)"
    assert replica.query(insert).status == 500
    assert replica.query(f"PRAGMA defer_foreign_keys = ON; {insert}").status == 200


def test_foreign_keys_can_be_turned_off_only_on_the_engine(replica: Client, is_peer: bool) -> None:
    replica.run("CREATE TABLE p (id PRIMARY KEY); CREATE TABLE c (p REFERENCES p)")
    assert replica.query("PRAGMA foreign_keys = OFF").result == []
    assert replica.value("PRAGMA foreign_keys") == int(is_peer)
    assert replica.query("INSERT INTO c VALUES (1)").status == (500 if is_peer else 200)
    assert replica.query("PRAGMA foreign_keys = ON").result == []


def test_other_settings_last_for_one_text_only_on_the_peer(replica: Client, is_peer: bool) -> None:
    replica.run("CREATE TABLE t (a CHECK (a > 0))")
    setting = "PRAGMA ignore_check_constraints"
    assert replica.query(f"{setting} = ON; INSERT INTO t VALUES (0)").status == 200
    assert replica.query("INSERT INTO t VALUES (0)").status == (500 if is_peer else 200)
    assert replica.query(f"{setting} = OFF").status == 200
    assert replica.query("INSERT INTO t VALUES (0)").status == 500
