"""What is done with a statement that may do something else on a replica, by policy."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from afterquery import Replication, Replicator, classify, cli
from replication.world import Primary, assert_same, connect, fulfilled, prepare, rejected, until
from support.docs import blocks
from support.peer import PeerProcess

Policy = Literal["warn", "reject", "rows"]

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, x, y TEXT DEFAULT 'why');
CREATE TABLE pair (a TEXT, b INT, x, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE u (id INTEGER PRIMARY KEY, email TEXT UNIQUE, "order" BLOB, n REAL NOT NULL);
CREATE TABLE "odd ""name" ("the key" TEXT UNIQUE, x);
CREATE TABLE only (id INTEGER PRIMARY KEY);
"""
SEED = """
INSERT INTO t VALUES (1, 'a', 'A'), (2, 'b', 'B'), (3, NULL, NULL), (4, 2.5, 'D');
INSERT INTO pair VALUES ('p', 1, 10), ('p', 2, 20), ('q', 1, 30);
INSERT INTO u VALUES (1, 'ada@x', x'00ff', 1), (2, 'bob@x', NULL, 1e300), (3, NULL, 'text', -0.5);
INSERT INTO "odd ""name" VALUES ('k', 1), (NULL, 2), ('it''s', 3);
INSERT INTO only VALUES (7);
"""
CLEAN = (
    'DELETE FROM t; DELETE FROM pair; DELETE FROM u; DELETE FROM "odd ""name"; DELETE FROM only;'
)

UPDATE = "UPDATE t SET x = random()"
WHY = "calls random() or randomblob()"


@dataclass
class World:
    primary: Primary
    peer: PeerProcess
    replicators: dict[Policy, Replicator]

    def rows(self, sql: str, params: Any = ()) -> list[sqlite3.Row]:
        """Run a statement that returns rows."""
        cursor = self.primary.connection.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor.execute(sql, params).fetchall()

    def replicate(self, sql: str, key: Any, params: Any = (), **settings: Any) -> None:
        """Run it on the primary; with its rows the replica must be the same."""
        rows = self.rows(sql, params)
        write = self.replicators["rows"].after_query(sql, params, rows=rows, key=key, **settings)
        if rows:
            fulfilled(write)
        else:
            assert write is None
        assert_same(self.primary, self.peer)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("nondeterministic")
    policies: tuple[Policy, ...] = ("warn", "reject", "rows")
    with ExitStack() as stack:
        primary = stack.enter_context(Primary(folder / "primary.db", SCHEMA))
        peer = stack.enter_context(PeerProcess(folder / "peer"))
        made = {
            policy: stack.enter_context(connect(peer, nondeterministic=policy))
            for policy in policies
        }
        prepare(SCHEMA, peer)
        yield World(primary, peer, made)


@pytest.fixture
def world(shared: World) -> World:
    shared.primary.connection.executescript(f"BEGIN; {CLEAN} {SEED} COMMIT;")
    prepare(CLEAN + SEED, shared.peer)
    return shared


def refused(world: World, sql: str, **given: Any) -> str:
    """Why the write is rejected; the replica keeps what it had."""
    before = world.peer.client().rows("SELECT id, quote(x) FROM t ORDER BY id")
    replicator = world.replicators["rows"]
    reason = rejected(replicator.after_query(sql, given.pop("params", ()), **given))["peer"]
    assert world.peer.client().rows("SELECT id, quote(x) FROM t ORDER BY id") == before
    assert reason.startswith("nondeterministic: the statement ")
    return reason.removeprefix("nondeterministic: the statement ")


def test_the_policy_is_one_of_three(world: World) -> None:
    with pytest.raises(ValueError, match="nondeterministic"):
        connect(world.peer, nondeterministic="ignore")


# "warn"


def test_warn_replicates_logs_once_and_counts_each(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    replicator = world.replicators["warn"]
    counted = replicator.stats().nondeterministic
    # By their spelling: the log shows no values.
    texts = [
        "UPDATE t SET x = random() WHERE id = 1 + 0",
        "UPDATE t SET x = random() WHERE 0 + id = 2",
    ]
    shown = [re.sub(r"\d", "?", text) for text in texts]
    with caplog.at_level(logging.WARNING, logger="afterquery"):
        for sql in texts * 3:
            fulfilled(replicator.after_query(sql, (), world.primary.run(sql)))
        until(lambda: len(caplog.records) >= 2, "both are logged")
        last = "UPDATE t SET x = random() WHERE id = 3"
        fulfilled(replicator.after_query(last))
        until(lambda: "WHERE id = ?" in caplog.records[-1].getMessage(), "the last one is logged")
    messages = [record.getMessage() for record in caplog.records]
    assert [sum(sql in message for message in messages) for sql in shown] == [1, 1]
    assert all(WHY in message for message in messages)
    assert replicator.stats().nondeterministic == counted + 7
    rows = "SELECT typeof(x) FROM t WHERE id < 3"
    assert world.peer.client().rows(rows) == [("integer",)] * 2
    with pytest.raises(AssertionError):
        assert_same(world.primary, world.peer)


def test_warn_takes_no_notice_of_rows(world: World) -> None:
    replicator = world.replicators["warn"]
    fulfilled(replicator.after_query(UPDATE, (), rows=[{"id": 1, "x": 5}], key="id"))
    assert world.peer.client().value("SELECT count(*) FROM t WHERE x = 5") == 0


@pytest.mark.parametrize("policy", ["warn", "reject", "rows"])
@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("UPDATE t SET x = ?", (5,)),
        ("UPDATE t SET x = 'random()', y = 'now' -- random()", ()),
        ("UPDATE t SET x = date(?)", ("2020-01-01",)),
        ("UPDATE t SET x = date(y), y = upper(?)", ("now",)),
        ("INSERT INTO t (x) SELECT x FROM t ORDER BY id", ()),
    ],
)
def test_what_does_not_differ_is_sent_as_it_is(
    world: World, policy: Policy, sql: str, params: tuple[object, ...]
) -> None:
    replicator = world.replicators[policy]
    counted = replicator.stats().nondeterministic
    fulfilled(replicator.after_query(sql, params, world.primary.run(sql, params)))
    assert replicator.stats().nondeterministic == counted
    assert_same(world.primary, world.peer)


@pytest.mark.parametrize("policy", ["warn", "reject", "rows"])
@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("INSERT INTO t VALUES (9, random(), hex(randomblob(8)))", ()),
        ("UPDATE t SET x = datetime('now'), y = strftime('%f', 'now', 'localtime')", ()),
        ("UPDATE t SET x = julianday(?), y = CURRENT_TIMESTAMP", ("2020-01-01",)),
        ("UPDATE t SET x = date(?), y = ?", ("now", "now")),
        ("UPDATE t SET x = changes() + last_insert_rowid()", ()),
    ],
)
def test_what_was_frozen_is_sent_as_it_is(
    world: World, policy: Policy, sql: str, params: tuple[object, ...]
) -> None:
    replicator = world.replicators[policy]
    counted = replicator.stats().nondeterministic
    frozen, same = replicator.before_query(sql, params, last_insert_rowid=3, changes=4)
    fulfilled(replicator.after_query(frozen, same, world.primary.run(frozen, same)))
    assert replicator.stats().nondeterministic == counted
    assert_same(world.primary, world.peer)


# "reject"


@pytest.mark.parametrize(
    ("sql", "params", "why"),
    [
        (UPDATE, (), WHY),
        ("INSERT INTO t (x) VALUES (random())", (), WHY),
        ("UPDATE t SET x = datetime('now')", (), "reads the clock"),
        ("UPDATE t SET x = date(?)", ("now",), "passes a parameter to a date function"),
        ("UPDATE t SET x = datetime(y, 'localtime')", (), "depends on the machine's time zone"),
        ("UPDATE t SET x = mine(1)", (), "calls a function SQLite does not have built in"),
        ("DELETE FROM t LIMIT 1", (), "has a LIMIT without an ORDER BY"),
        ("INSERT INTO t (x) SELECT n FROM u", (), "inserts from a SELECT without an ORDER BY"),
        ("DELETE FROM t WHERE id = changes()", (), "depends on what the connection did before"),
    ],
)
def test_reject_gives_the_reason(
    world: World, sql: str, params: tuple[object, ...], why: str
) -> None:
    replicator = world.replicators["reject"]
    counted = replicator.stats().nondeterministic
    before = world.peer.client().rows("SELECT id, quote(x) FROM t")
    reason = rejected(replicator.after_query(sql, params))["peer"]
    assert reason == f"nondeterministic: the statement {why}; freeze it with before_query"
    assert world.peer.client().rows("SELECT id, quote(x) FROM t") == before
    assert replicator.stats().nondeterministic == counted + 1
    dead = replicator.dead_letters()[-1]
    assert dead.reason == reason


def test_reject_leaves_the_replica_in_use(world: World) -> None:
    replicator = world.replicators["reject"]
    rejected(replicator.after_query(UPDATE))
    sql = "UPDATE t SET x = 5"
    fulfilled(replicator.after_query(sql, (), world.primary.run(sql)))
    assert_same(world.primary, world.peer)


def test_reject_looks_at_every_set_of_parameters(world: World) -> None:
    replicator = world.replicators["reject"]
    sql = "UPDATE t SET x = date(?)"
    fulfilled(replicator.after_query(sql, [("2020-01-01",), ("2021-01-01",)], many=True))
    rejected(replicator.after_query(sql, [("2020-01-01",), ("now",)], many=True))


# "rows"


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("INSERT INTO t (x) VALUES (random()), (random()) RETURNING *", "id"),
        ("INSERT INTO t (x) SELECT random() FROM pair RETURNING *", ["id"]),
        ("INSERT INTO t SELECT id + 10, randomblob(id), y FROM t RETURNING *", ("ID",)),
        ("INSERT OR IGNORE INTO t SELECT id + 2, random(), y FROM t RETURNING *", "id"),
        ("UPDATE t SET x = random() RETURNING *", "id"),
        ("UPDATE t SET x = random(), y = 'new' WHERE id IN (1, 3) RETURNING id, x, y", "id"),
        ("UPDATE t SET x = randomblob(3) WHERE id > 99 RETURNING *", "id"),
        ("UPDATE t SET x = random() FROM pair WHERE b = id AND a = 'p' RETURNING id, t.x", "id"),
        ("UPDATE t AS q SET x = random() WHERE q.id = 2 RETURNING x, id", "id"),
        ("DELETE FROM t WHERE random() % 2 = 0 RETURNING *", "id"),
        ("DELETE FROM t WHERE random() IS NOT NULL RETURNING id", "id"),
        ("REPLACE INTO t SELECT id, random(), y FROM t WHERE id > 2 RETURNING *", "id"),
        ("INSERT OR REPLACE INTO t VALUES (3, random(), 'r'), (9, 1, 2) RETURNING *", "id"),
        (
            (
                "INSERT INTO t VALUES (3, 1, 2), (8, 1, 2) ON CONFLICT DO UPDATE"
                " SET x = random(), y = excluded.y RETURNING *"
            ),
            "id",
        ),
        ("INSERT INTO pair SELECT a, b + 5, random() FROM pair RETURNING *", ["a", "b"]),
        ("UPDATE pair SET x = random() WHERE a = 'p' RETURNING *", ("b", "a")),
        ("DELETE FROM pair WHERE random() <> 0 AND b = 1 RETURNING x, b, a", ["a", "b"]),
        ("REPLACE INTO pair SELECT a, b, random() FROM pair RETURNING *", ["A", "B"]),
        ('UPDATE u SET "order" = randomblob(20) RETURNING *', "id"),
        ("INSERT INTO u (email, n) SELECT hex(randomblob(4)), 1e-320 FROM u RETURNING *", "id"),
        ("INSERT INTO u (email, n) VALUES ('x@x', random() * 1.5) RETURNING *", "email"),
        ("REPLACE INTO u VALUES (1, 'bob@x', random(), 3) RETURNING *", "id"),
        ('UPDATE "odd ""name" SET x = random() WHERE x <> 2 RETURNING *', "the key"),
        ('DELETE FROM "odd ""name" WHERE random() IS NOT NULL RETURNING *', ["the key", "x"]),
        ("INSERT INTO main.only SELECT abs(random() % 99) + 100 RETURNING *", "id"),
        ("WITH w AS (SELECT random() AS r) UPDATE t SET x = r FROM w RETURNING id, x, y", "id"),
        ("UPDATE t SET x = last_insert_rowid() + changes() RETURNING *", "id"),
        ("UPDATE t SET x = datetime('now', 'utc') RETURNING id, x", "id"),
        ("UPDATE t SET x = 'it''s ? :a' || random() RETURNING *", "id"),
    ],
)
def test_rows_stand_for_the_statement(world: World, sql: str, key: Any) -> None:
    world.replicate(sql, key)


def test_dicts_and_other_mappings_will_do(world: World) -> None:
    replicator = world.replicators["rows"]
    kinds: list[Callable[[sqlite3.Row], Any]] = [lambda row: row, dict]
    for kind in kinds:
        rows = [kind(row) for row in world.rows(f"{UPDATE} RETURNING *")]
        fulfilled(replicator.after_query(UPDATE, (), rows=iter(rows), key=iter(["id"])))
        assert_same(world.primary, world.peer)


def test_rows_with_the_statements_own_text(world: World) -> None:
    """The rows may come from a query of their own, where the driver has no RETURNING."""
    world.primary.run(UPDATE)
    rows = world.rows("SELECT * FROM t")
    fulfilled(world.replicators["rows"].after_query(UPDATE, (), rows=rows, key="id"))
    assert_same(world.primary, world.peer)


def test_parameters_are_of_no_use_to_rows(world: World) -> None:
    world.replicate("UPDATE t SET x = ? || random() WHERE id > ? RETURNING *", "id", ("v", 1))
    world.replicate("UPDATE t SET x = date(:now) RETURNING *", "id", {"now": "now"})


def test_user_functions(world: World) -> None:
    world.primary.connection.create_function("mine", 1, lambda x: f"mine:{x}")
    world.replicate("UPDATE t SET x = mine(y) RETURNING *", "id")


def test_no_rows_are_no_write(world: World) -> None:
    replicator = world.replicators["rows"]
    before = replicator.stats().writes
    assert replicator.after_query(UPDATE, (), rows=[], key="id") is None
    assert replicator.stats().writes == before


def test_many_rows(world: World) -> None:
    count = "WITH RECURSIVE n (i) AS (VALUES (10) UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
    world.replicate(f"{count} INSERT INTO t SELECT i, random(), i FROM n RETURNING *", "id")
    world.replicate("DELETE FROM t WHERE random() % 3 = 0 RETURNING id", "id")


def test_a_text_with_two_keys_of_the_same_row(world: World) -> None:
    """Every upsert by another UNIQUE column than the primary key finds the right row."""
    world.replicate("UPDATE u SET n = abs(random()) / 3.0 WHERE email <> '' RETURNING *", "email")


# where "rows" refuses


@pytest.mark.parametrize(
    ("sql", "given", "why"),
    [
        (UPDATE, {}, f"{WHY}; freeze it with before_query, or pass rows= and key="),
        (UPDATE, {"rows": [{"id": 1, "x": 2}]}, "key= must name the columns that identify a row"),
        (UPDATE, {"rows": [{"id": 1}], "key": []}, "key= must name"),
        (UPDATE, {"rows": [{"x": 1}], "key": "id"}, 'no column "id", which is in the key'),
        (
            "UPDATE t SET id = abs(random() % 9) RETURNING *",
            {"rows": [{"id": 1, "x": 2}], "key": "id"},
            'may set "id"',
        ),
        (
            'UPDATE t SET (x, "ID") = (random(), 9)',
            {"rows": [{"id": 1, "x": 2}], "key": "id"},
            'may set "id"',
        ),
        (
            "INSERT INTO t VALUES (1, 2, 3) ON CONFLICT DO UPDATE SET id = random()",
            {"rows": [{"id": 1, "x": 2}], "key": "id"},
            'may set "id"',
        ),
        (
            "UPDATE OR REPLACE t SET x = random()",
            {"rows": [{"id": 1, "x": 2}], "key": "id"},
            "may delete rows that are not among those given",
        ),
        (
            f"{UPDATE}; DELETE FROM t",
            {"rows": [{"id": 1, "x": 2}], "key": "id"},
            "only stand for one INSERT, UPDATE or DELETE",
        ),
        (
            UPDATE,
            {"rows": [{"id": 1, "x": 2}, {"x": 3, "id": 4}], "key": "id"},
            "must all have the same columns, in the same order",
        ),
        (UPDATE, {"rows": [(1, 2)], "key": "id"}, "rows= cannot be read"),
        (UPDATE, {"rows": 5, "key": "id"}, "rows= cannot be read"),
        (UPDATE, {"rows": [{5: 1}], "key": "id"}, "rows= cannot be read"),
        (UPDATE, {"rows": [{"id": 1, "x": 2}], "key": 5}, "rows= cannot be read"),
    ],
)
def test_rows_refuses(world: World, sql: str, given: dict[str, Any], why: str) -> None:
    reason = refused(world, sql, **given)
    assert WHY in reason
    assert why in reason


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("INSERT INTO t (id, x, y) VALUES (9, random(), 'k') RETURNING {}", "id, x"),
        ("INSERT INTO t (x, y) SELECT random(), y FROM t RETURNING {}", "id, y"),
        ("UPDATE t SET x = random(), y = 'k' RETURNING {}", "id, x"),
        ("UPDATE t SET (x, y) = (random(), 'k') RETURNING {}", "id, x"),
        (
            (
                "INSERT INTO t VALUES (1, 2, 3) ON CONFLICT DO UPDATE SET x = random(), y = 5"
                " RETURNING {}"
            ),
            "id, x",
        ),
    ],
)
def test_rows_without_a_column_that_the_statement_sets_are_refused(
    world: World, sql: str, columns: str
) -> None:
    """They would leave the replica with another value there, and nobody would know."""
    returning = sql.format(columns)
    refused(world, returning, rows=world.rows(returning), key="id")


def test_a_value_that_cannot_be_sent_is_named(world: World) -> None:
    replicator = world.replicators["rows"]
    write = replicator.after_query(UPDATE, (), rows=[{"id": 1, "x": object()}], key="id")
    assert "object" in rejected(write)["peer"]


def test_a_key_that_is_none_on_the_replica_is_rejected_there(world: World) -> None:
    replicator = world.replicators["rows"]
    insert = "INSERT INTO t VALUES (1, random(), 'A')"
    write = replicator.after_query(insert, (), rows=[{"id": 1, "x": 5, "y": "A"}], key="y")
    assert "ON CONFLICT" in rejected(write)["peer"]


def test_a_row_that_is_missing_on_the_replica_shows(world: World) -> None:
    write = world.replicators["rows"].after_query(UPDATE, (), rows=[{"id": 999, "x": 5}], key="id")
    assert write is not None
    (outcome,) = write.wait(30)
    assert (outcome.status, outcome.changes) == ("fulfilled", 0)
    assert outcome.reason is not None
    assert outcome.reason.startswith("diverged")


def test_rows_that_pass_through_each_others_unique_values_are_rejected(world: World) -> None:
    """One by one they collide; the statement did not. It is told, and nothing is half done."""
    world.primary.run("UPDATE u SET n = id")
    prepare("UPDATE u SET n = id", world.peer)
    sql = "UPDATE u SET email = CASE id WHEN 1 THEN 'bob@x' ELSE 'ada@x' END, n = abs(random())"
    rows = [
        {"id": 1, "email": "bob@x", "order": None, "n": 1.0},
        {"id": 2, "email": "ada@x", "order": None, "n": 2.0},
    ]
    reason = rejected(world.replicators["rows"].after_query(sql, (), rows=rows, key="id"))["peer"]
    assert "UNIQUE" in reason
    assert_same(world.primary, world.peer)


def test_an_update_of_some_columns_needs_no_others(world: World) -> None:
    """The row is there on the replica: its NOT NULL columns need not be given again."""
    world.replicate('UPDATE u SET "order" = random() RETURNING id, "order"', "id")


# in a transaction


def run_in(world: World, policy: Policy, *statements: tuple[str, Any]) -> Replication | None:
    """Statements, each with its key if its rows are to be given, as one write."""
    with world.replicators[policy].transaction() as tx:
        world.primary.run("BEGIN")
        for sql, key in statements:
            rows = world.rows(sql)
            given = {} if key is None else {"rows": rows, "key": key}
            tx.after_query(sql, (), **given)
        world.primary.run("COMMIT")
    return tx.replication


def test_rows_in_a_transaction(world: World) -> None:
    write = run_in(
        world,
        "rows",
        ("INSERT INTO t VALUES (10, 1, 2)", None),
        (f"{UPDATE} RETURNING *", "id"),
        ("DELETE FROM t WHERE id = 2", None),
        ("DELETE FROM pair WHERE random() IS NOT NULL AND a = 'p' RETURNING *", ["a", "b"]),
        ("UPDATE t SET y = x WHERE id = 1", None),
    )
    fulfilled(write)
    assert_same(world.primary, world.peer)


@pytest.mark.parametrize("policy", ["reject", "rows"])
def test_one_statement_that_is_refused_keeps_the_whole_transaction_out(
    world: World, policy: Policy
) -> None:
    before = world.peer.client().rows("SELECT * FROM t")
    write = run_in(world, policy, ("DELETE FROM t", None), (UPDATE, None))
    assert "random()" in rejected(write)["peer"]
    assert world.peer.client().rows("SELECT * FROM t") == before


def test_warn_in_a_transaction(world: World) -> None:
    counted = world.replicators["warn"].stats().nondeterministic
    fulfilled(run_in(world, "warn", (UPDATE, None), ("DELETE FROM t WHERE id = 2", None)))
    assert world.replicators["warn"].stats().nondeterministic == counted + 1


def test_frozen_in_a_transaction(world: World) -> None:
    replicator = world.replicators["rows"]
    with replicator.transaction() as tx:
        world.primary.run("BEGIN")
        for sql in ("INSERT INTO t (x) VALUES (random())", "UPDATE t SET y = datetime('now')"):
            frozen, params = replicator.before_query(sql, ())
            tx.after_query(frozen, params, world.primary.run(frozen, params))
        world.primary.run("COMMIT")
    fulfilled(tx.replication)
    assert_same(world.primary, world.peer)


# docs/determinism.md

DOCUMENT = "docs/determinism.md"


@pytest.mark.parametrize("policy", ["warn", "reject", "rows"])
def test_the_documents_code_runs(
    policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = """
        CREATE TABLE events (id INTEGER PRIMARY KEY, at TEXT, token);
        CREATE TABLE players (id INTEGER PRIMARY KEY, name TEXT NOT NULL, dice INT);
        INSERT INTO players (name) VALUES ('Ada'), ('Grace'), ('Edsger');
    """
    with (
        Primary(tmp_path / "primary.db", schema) as primary,
        PeerProcess(tmp_path / "peer") as peer,
        connect(peer, nondeterministic=policy) as replicator,
    ):
        prepare(schema, peer)
        names = {
            "db": primary.connection,
            "replicator": replicator,
            "classify": classify,
            "sqlite3": sqlite3,
        }
        for code in blocks(DOCUMENT, "python"):
            exec(code, names)
        assert replicator.flush(timeout=10)
        rejected_writes = replicator.stats().replicas[0].rejected
        assert rejected_writes == (1 if policy == "reject" else 0), replicator.dead_letters()
        if policy == "rows":
            assert_same(primary, peer)
    assert capsys.readouterr().out == blocks(DOCUMENT, "text")[0]


def test_the_documents_schema_is_found_wanting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("schema.sql").write_text(blocks(DOCUMENT, "sql")[0])
    (command,) = blocks(DOCUMENT, "sh")
    assert cli.main(command.split()[1:]) == 1
    assert capsys.readouterr().out == blocks(DOCUMENT, "text")[1]
