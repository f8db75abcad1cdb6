"""The wire form: a text whose first statement refuses to run twice, and tells how far it came.

The row holds the last write applied (`seq`), where within it (`step`), a number that changes with
each text (`chain`), and how many rows each write of the text changed (`changes`).
"""

from __future__ import annotations

import pytest

from support.client import Answer, Client

TABLE = "tmp_afterquery_watermark"
ORIGIN = "018f2a3b-4c5d-7e6f-8a9b-0c1d2e3f4a5b"

CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (id INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE,"
    " seq INTEGER NOT NULL, step INTEGER NOT NULL, chain INTEGER NOT NULL, changes TEXT NOT NULL)"
)
REFUSED = f"NOT NULL constraint failed: {TABLE}.seq: SQLITE_CONSTRAINT"


def head(seq: int, chain: int, new_chain: int) -> str:
    return (
        f"INSERT INTO {TABLE} (origin,seq,step,chain,changes) VALUES ('{ORIGIN}',"
        f"(SELECT CASE WHEN seq={seq} AND step=0 AND chain={chain} THEN {seq} END"
        f" FROM {TABLE} NOT INDEXED WHERE origin='{ORIGIN}'),0,{new_chain},'')"
        " ON CONFLICT(origin) DO UPDATE SET seq=excluded.seq,step=0,chain=excluded.chain,changes=''"
    )


def mark(seq: int) -> str:
    return f"UPDATE {TABLE} SET seq={seq},changes=changes||changes()||';' WHERE id=1"


def send(client: Client, after: tuple[int, int], new_chain: int, *writes: str) -> Answer:
    """A text as the replicator will send it, following the write and the chain in `after`."""
    seq, chain = after
    statements = [head(seq, chain, new_chain)]
    for number, write in enumerate(writes, seq + 1):
        statements += [write, mark(number)]
    return client.query(";".join(statements) + " RETURNING seq,step,chain,changes")


def row(client: Client) -> tuple[object, ...]:
    return client.rows(f"SELECT seq, step, chain, changes FROM {TABLE}")[0]


def done(seq: int, chain: int, changes: str) -> list[dict[str, object]]:
    return [{"seq": seq, "step": 0, "chain": chain, "changes": changes}]


@pytest.fixture
def marked(replica: Client) -> Client:
    """A replica that has applied write 41, and a table `t`."""
    replica.run(CREATE)
    replica.run(
        f"INSERT INTO {TABLE} VALUES (1, '{ORIGIN}', 41, 0, 111, '');"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t (n) VALUES (0), (0)"
    )
    return replica


def test_the_writes_that_follow_are_applied_and_counted(marked: Client) -> None:
    answer = send(marked, (41, 111), 222, "UPDATE t SET n=n+1", "UPDATE t SET n=n+1 WHERE id=1")
    assert answer.result == done(43, 222, "2;1;")
    assert marked.rows("SELECT n FROM t") == [(2,), (1,)]


def test_one_text_after_the_other(marked: Client) -> None:
    assert send(marked, (41, 111), 222, "UPDATE t SET n=n+1").result == done(42, 222, "2;")
    assert send(marked, (42, 222), 333, "UPDATE t SET n=n+1").result == done(43, 333, "2;")


@pytest.mark.parametrize(
    "after", [(40, 111), (42, 111), (41, 110)], ids=["again", "gap", "another chain"]
)
def test_what_does_not_follow_is_refused_whole(marked: Client, after: tuple[int, int]) -> None:
    answer = send(marked, after, 222, "UPDATE t SET n=n+1", "UPDATE t SET n=n+1")
    assert answer.status == 500
    assert answer.error.startswith(REFUSED)
    assert row(marked) == (41, 0, 111, "")
    assert marked.rows("SELECT n FROM t") == [(0,), (0,)]


def test_a_text_that_comes_twice_is_applied_once(marked: Client) -> None:
    assert send(marked, (41, 111), 222, "UPDATE t SET n=n+1").status == 200
    assert send(marked, (41, 111), 222, "UPDATE t SET n=n+1").error.startswith(REFUSED)
    assert marked.value("SELECT sum(n) FROM t") == 2


def test_a_missing_row_refuses_everything(marked: Client) -> None:
    marked.run(f"DELETE FROM {TABLE}")
    answer = send(marked, (41, 111), 222, "UPDATE t SET n=n+1")
    assert answer.error.startswith(REFUSED)
    assert marked.rows(f"SELECT * FROM {TABLE}") == []
    assert marked.value("SELECT sum(n) FROM t") == 0


def test_a_missing_table_refuses_everything(replica: Client) -> None:
    replica.run("CREATE TABLE t (n); INSERT INTO t VALUES (0)")
    answer = send(replica, (41, 111), 222, "UPDATE t SET n=n+1")
    assert answer.error.startswith(f"no such table: {TABLE}")
    assert replica.value("SELECT n FROM t") == 0


def test_after_a_failing_write_the_row_tells_the_one_before_it(marked: Client) -> None:
    failing = "INSERT INTO t (id) VALUES (1)"
    answer = send(marked, (41, 111), 222, "UPDATE t SET n=n+1", failing, "UPDATE t SET n=n+1")
    assert answer.error.startswith("UNIQUE constraint failed: t.id")
    assert row(marked) == (42, 0, 222, "2;")
    assert marked.value("SELECT sum(n) FROM t") == 2


def test_a_failing_first_write_moves_only_the_chain(marked: Client) -> None:
    """So that it can be told from a text that never arrived."""
    assert send(marked, (41, 111), 222, "INSERT INTO t (id) VALUES (1)").status == 500
    assert row(marked) == (41, 0, 222, "")


def test_a_text_that_does_not_parse_further_on_is_applied_up_to_there(marked: Client) -> None:
    assert send(marked, (41, 111), 222, "UPDATE t SET n=n+1", "NOT SQL").status == 500
    assert row(marked) == (42, 0, 222, "2;")


@pytest.mark.parametrize(
    "write",
    [
        "PRAGMA defer_foreign_keys=ON; INSERT INTO child VALUES (99)",
        "INSERT OR ROLLBACK INTO t (id) VALUES (1)",
    ],
)
def test_what_undoes_the_text_undoes_the_row_too(marked: Client, write: str) -> None:
    marked.run("CREATE TABLE child (p REFERENCES t (id))")
    assert send(marked, (41, 111), 222, "UPDATE t SET n=n+1", write).status == 500
    assert row(marked) == (41, 0, 111, "")
    assert marked.value("SELECT sum(n) FROM t") == 0


def test_a_text_that_is_too_long_leaves_the_row(marked: Client) -> None:
    long = f"UPDATE t SET n='{'x' * 100_000}'"
    assert send(marked, (41, 111), 222, "UPDATE t SET n=n+1", long).status == 500
    assert row(marked) == (41, 0, 111, "")


def test_the_row_of_another_origin_stays(marked: Client) -> None:
    other = f"INSERT INTO {TABLE} (origin,seq,step,chain,changes) VALUES ('other', 7, 0, 1, '')"
    marked.run(other)
    assert send(marked, (41, 111), 222, "UPDATE t SET n=n+1").status == 200
    assert marked.rows(f"SELECT seq, chain FROM {TABLE} ORDER BY id") == [(42, 222), (7, 1)]


def test_counts_of_every_kind_of_write(marked: Client) -> None:
    answer = send(
        marked,
        (41, 111),
        222,
        "INSERT INTO t (n) VALUES (1), (2), (3)",
        "UPDATE t SET n=0 WHERE id=99",
        "REPLACE INTO t (id, n) VALUES (1, 7)",
        "INSERT INTO t (id, n) VALUES (1, 8) ON CONFLICT DO UPDATE SET n=excluded.n",
        "INSERT OR IGNORE INTO t (id) VALUES (1)",
        "DELETE FROM t WHERE id>3",
        "DELETE FROM t",
    )
    assert answer.result == done(48, 222, "3;0;1;1;0;2;3;")


def test_the_count_of_ddl_is_that_of_the_statement_before_it(marked: Client) -> None:
    """DDL counts nothing, so `changes()` still tells 1, the watermark's own row."""
    answer = send(
        marked,
        (41, 111),
        222,
        "CREATE TABLE u (a)",
        "UPDATE t SET n=1",
        "CREATE INDEX i ON t (n)",
        "ALTER TABLE u ADD COLUMN b",
        "DROP TABLE u",
    )
    assert answer.result == done(46, 222, "1;2;1;1;1;")


def test_a_trigger_does_not_count(marked: Client) -> None:
    marked.run(
        "CREATE TABLE log (a); CREATE TRIGGER r AFTER UPDATE ON t"
        " BEGIN INSERT INTO log VALUES (1), (2), (3); END"
    )
    assert send(marked, (41, 111), 222, "UPDATE t SET n=1").result == done(42, 222, "2;")


def test_last_insert_rowid_passes_through_the_watermark(marked: Client) -> None:
    """Neither the head (it updates its row) nor the marks set it."""
    answer = send(
        marked,
        (41, 111),
        222,
        "INSERT INTO t (id, n) VALUES (50, 0)",
        "INSERT INTO t (id, n) VALUES (60, last_insert_rowid())",
        "UPDATE t SET n=last_insert_rowid() WHERE id=1",
    )
    assert answer.status == 200
    assert marked.rows("SELECT id, n FROM t WHERE id IN (1, 60)") == [(1, 60), (60, 50)]


def test_last_insert_rowid_is_kept_from_one_text_to_the_next(marked: Client) -> None:
    """On the same connection, unless somebody else inserts (as StarbaseDB's query log does)."""
    marked.run("INSERT INTO t (id, n) VALUES (70, 0)")
    assert send(marked, (41, 111), 222, "UPDATE t SET n=last_insert_rowid()").status == 200
    assert marked.value("SELECT n FROM t WHERE id=1") == 70


def test_a_write_that_reads_changes_sees_the_watermark(marked: Client) -> None:
    """So such a write is not deterministic: on the primary it saw the write before it."""
    answer = send(marked, (41, 111), 222, "UPDATE t SET n=0", "UPDATE t SET n=changes()")
    assert answer.status == 200
    assert marked.rows("SELECT n FROM t") == [(1,), (1,)]
