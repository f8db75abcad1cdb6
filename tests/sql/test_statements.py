"""Kinds of changing statements: each leaves every replica exactly as it leaves the primary."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from afterquery import Replicator
from replication.schema import CLEAN, SCHEMA, SEED
from replication.world import (
    TIMEOUT,
    Primary,
    assert_same,
    both_engines,
    connect,
    contents,
    counted,
    fulfilled,
    prepare,
)
from support.process import ReplicaProcess

pytestmark = pytest.mark.workerd


@dataclass(frozen=True)
class Case:
    """A text as an application hands it over, with its parameters."""

    name: str
    sql: str
    params: Any = None
    many: bool = False
    parts: tuple[tuple[str, Any], ...] = ()
    """The statements one by one, where the driver runs only one at a time."""
    changes: bool = True
    """Whether it changes anything on the primary."""


@dataclass
class World:
    primary: Primary
    replicas: list[ReplicaProcess]
    replicator: Replicator

    def run(self, case: Case) -> None:
        """Run a text on the primary, then tell the replicator."""
        result = None
        for sql, params in case.parts or ((case.sql, case.params),):
            result = self.primary.run(sql, params, many=case.many)
        self.replicator.after_query(
            case.sql, case.params, None if case.parts else result, many=case.many
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("statements")
    with (
        Primary(folder / "primary.db", SCHEMA) as primary,
        both_engines(folder) as replicas,
        connect(*replicas) as replicator,
    ):
        prepare(SCHEMA, *replicas)
        yield World(primary, replicas, replicator)


@pytest.fixture
def seeded(world: World) -> World:
    """The world with the rows that each case starts from."""
    world.primary.connection.executescript(f"BEGIN; {CLEAN} {SEED} COMMIT;")
    prepare(CLEAN + SEED, *world.replicas)
    return world


INSERTS = [
    Case("insert values", "INSERT INTO log VALUES (10, 'x', 1.5)"),
    Case("insert columns", "INSERT INTO users (name, score) VALUES ('Eve', 5)"),
    Case("insert in another order", "INSERT INTO log (b, n, a) VALUES ('b', 20, x'0a')"),
    Case("insert default values", "INSERT INTO items DEFAULT VALUES"),
    Case("insert several rows", "INSERT INTO loose VALUES (1, 2, 3), (4, 5, 6), (NULL, '', x'')"),
    Case("insert or replace", "INSERT OR REPLACE INTO users (id, name) VALUES (1, 'Ada II')"),
    Case("insert or replace unique", "INSERT OR REPLACE INTO two VALUES (9, 'a', 200, 5)"),
    Case("insert or ignore new", "INSERT OR IGNORE INTO two VALUES (3, 'c', 300, 1)"),
    Case(
        "insert or ignore old",
        "INSERT OR IGNORE INTO two VALUES (1, 'z', 999, 1)",
        changes=False,
    ),
    Case(
        "insert or ignore some",
        "INSERT OR IGNORE INTO two VALUES (1, 'z', 9, 1), (4, 'd', 400, 1), (5, 'a', 500, 1)",
    ),
    Case("insert or abort", "INSERT OR ABORT INTO two VALUES (3, 'c', 300, 1)"),
    Case("insert or fail", "INSERT OR FAIL INTO two VALUES (3, 'c', 300, 1)"),
    Case("insert or rollback", "INSERT OR ROLLBACK INTO two VALUES (3, 'c', 300, 1)"),
    Case("replace", "REPLACE INTO pairs VALUES (1, 1, 'new'), (3, 3, 'more')"),
    Case("replace with select", "REPLACE INTO pairs SELECT b, a, c || '!' FROM pairs ORDER BY c"),
    Case("insert alias", "INSERT INTO two AS t VALUES (8, 'h', 800, 1)"),
    Case("insert select", "INSERT INTO log (a, b) SELECT id, name FROM users WHERE score > 15"),
    Case(
        "insert select ordered",
        "INSERT INTO log (a, b) SELECT name, score FROM users ORDER BY name DESC",
    ),
    Case(
        "insert select limit",
        "INSERT INTO log (a) SELECT name FROM users ORDER BY score DESC LIMIT 2 OFFSET 1",
    ),
    Case("insert select self", "INSERT INTO loose SELECT c, b, a FROM loose ORDER BY rowid"),
    Case("insert union", "INSERT INTO log (a) SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 'x'"),
    Case("insert union distinct", "INSERT INTO log (a) SELECT 2 UNION SELECT 1 UNION SELECT 2"),
    Case(
        "insert except",
        "INSERT INTO log (a) SELECT id FROM users EXCEPT SELECT k FROM two ORDER BY 1 DESC",
    ),
    Case(
        "insert intersect", "INSERT INTO log (a) SELECT id FROM users INTERSECT SELECT k FROM two"
    ),
    Case("insert values select", "INSERT INTO log (a, b) SELECT * FROM (VALUES (1, 2), (3, 4))"),
    Case(
        "insert join",
        "INSERT INTO log (a, b) SELECT p.name, c.name FROM parent p LEFT JOIN child c"
        " ON c.parent = p.id ORDER BY c.id",
    ),
    Case(
        "insert group",
        "INSERT INTO log (a, b) SELECT a, count(*) FROM loose GROUP BY a HAVING count(*) > 1",
    ),
    Case(
        "insert window",
        "INSERT INTO log (a, b) SELECT name, sum(score) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING"
        " AND CURRENT ROW) FROM users ORDER BY id",
    ),
    Case(
        "insert rank",
        "INSERT INTO log (a, b) SELECT name, rank() OVER w FROM users WINDOW w AS"
        " (PARTITION BY score > 15 ORDER BY name DESC) ORDER BY 1",
    ),
    Case("insert subquery value", "INSERT INTO log (a) VALUES ((SELECT max(score) FROM users))"),
    Case(
        "insert expression", "INSERT INTO log (a, b) VALUES (1 + 2 * 3, 'a' || 'b' || char(9731))"
    ),
    Case("insert case", "INSERT INTO log (a) VALUES (CASE WHEN 1 > 2 THEN 'x' ELSE 'y' END)"),
    Case("insert cast", "INSERT INTO loose VALUES (CAST('12' AS INT), CAST(3 AS TEXT), +'7')"),
    Case("insert hexadecimal", "INSERT INTO loose VALUES (0x7fffffffffffffff, -0x10, x'C0ffee')"),
    Case(
        "insert floats",
        "INSERT INTO loose VALUES (.5, 1e-5, 1.7976931348623157e308), (9e999, 1., 0)",
    ),
    Case(
        "insert edges", "INSERT INTO loose VALUES (-9223372036854775808, 9223372036854775807, 1e18)"
    ),
    Case("insert true false", "INSERT INTO loose VALUES (TRUE, FALSE, NULL IS NULL)"),
    Case(
        "insert autoincrement", "INSERT INTO items (id, label) VALUES (100, 'far'), (NULL, 'next')"
    ),
    Case("insert rowid", "INSERT INTO loose (rowid, a) VALUES (77, 'by number')"),
    Case("insert without rowid", "INSERT INTO pairs (b, a) VALUES (9, 9)"),
    Case(
        "insert strict",
        "INSERT INTO typed VALUES (3, 7, 7, '7', x'07', 7), (4, 0, 1, 'b', x'', x'')",
    ),
    Case("insert strict any", "INSERT INTO typed (id, x) VALUES (5, '5'), (6, 5), (7, 5.0)"),
    Case("insert generated", "INSERT INTO boxes (w, h) VALUES (3, 4), (NULL, 4)"),
    Case("insert view", "INSERT INTO user_names (id, name) VALUES (50, 'through a view')"),
    Case("insert ignored by trigger", "INSERT INTO log (a) VALUES ('ignored'), ('taken')"),
    Case("insert nested", "INSERT INTO log (a) VALUES (((((((((((((((1)))))))))))))))"),
    Case(
        "insert nested selects",
        "INSERT INTO log (a) SELECT (SELECT (SELECT (SELECT max(k) FROM two))) FROM users",
    ),
    Case("insert strings", "INSERT INTO log (a, b) VALUES ('it''s; -- no /* comment', '\"[`')"),
    Case("insert newline string", "INSERT INTO log (a) VALUES ('one\ntwo\r\nthree\t')"),
    Case(
        "insert large values",
        "INSERT INTO loose VALUES "
        + ", ".join(f"({n}, 'row {n}', {n} / 4.0)" for n in range(1_500)),
    ),
    Case(
        "insert full text",
        "INSERT INTO papers (title, body) VALUES ('rain', 'it''s the sea again')",
    ),
]

UPSERTS = [
    Case(
        "upsert do nothing",
        "INSERT INTO two VALUES (1, 'q', 9, 9) ON CONFLICT DO NOTHING",
        changes=False,
    ),
    Case(
        "upsert target nothing",
        "INSERT INTO two VALUES (9, 'a', 9, 9) ON CONFLICT (u) DO NOTHING",
        changes=False,
    ),
    Case(
        "upsert update",
        "INSERT INTO two VALUES (1, 'q', 9, 9) ON CONFLICT (k) DO UPDATE SET n = n + excluded.n",
    ),
    Case(
        "upsert insert",
        "INSERT INTO two VALUES (7, 'g', 700, 7) ON CONFLICT (k) DO UPDATE SET n = n + 1",
    ),
    Case(
        "upsert where",
        "INSERT INTO two VALUES (1, 'q', 9, 9), (2, 'r', 8, 8) ON CONFLICT (k) DO UPDATE"
        " SET n = excluded.n WHERE excluded.n > 8",
    ),
    Case(
        "upsert several",
        "INSERT INTO two VALUES (9, 'a', 9, 1), (10, 'x', 200, 2) ON CONFLICT (u) DO UPDATE SET"
        " n = n + 10 ON CONFLICT (v) DO UPDATE SET n = n + 100 ON CONFLICT DO NOTHING",
    ),
    Case(
        "upsert last any",
        "INSERT INTO two VALUES (9, 'a', 9, 1) ON CONFLICT (k) DO NOTHING"
        " ON CONFLICT DO UPDATE SET n = -1",
    ),
    Case(
        "upsert target where",
        "INSERT INTO users (id, name) VALUES (1, 'Z') ON CONFLICT (id) DO UPDATE SET"
        " (name, score) = (excluded.name, score + 1)",
    ),
    Case(
        "upsert select",
        "INSERT INTO two (k, u, n) SELECT id, name, 1 FROM users WHERE true ORDER BY id DESC"
        " ON CONFLICT (k) DO UPDATE SET n = n + 1",
    ),
    Case(
        "upsert table name",
        "INSERT INTO two AS t VALUES (1, 'q', 9, 9) ON CONFLICT (k) DO UPDATE SET n = t.n + t.v",
    ),
    Case(
        "upsert without rowid",
        "INSERT INTO pairs VALUES (1, 1, 'x') ON CONFLICT (a, b) DO UPDATE SET c = c || excluded.c",
    ),
]

UPDATES = [
    Case("update all", "UPDATE users SET score = score + 1"),
    Case("update where", "UPDATE users SET name = upper(name) WHERE id IN (1, 3)"),
    Case("update no rows", "UPDATE users SET score = 0 WHERE id = 99", changes=False),
    Case("update tuple", "UPDATE users SET (name, score) = ('Both', 7) WHERE id = 1"),
    Case(
        "update tuple select",
        "UPDATE users SET (name, score) = (SELECT u, v FROM two WHERE k = users.id) WHERE id < 3",
    ),
    Case("update subquery", "UPDATE users SET score = (SELECT max(v) FROM two) WHERE id = 2"),
    Case(
        "update exists", "UPDATE two SET n = 5 WHERE EXISTS (SELECT 1 FROM users WHERE id = two.k)"
    ),
    Case("update from", "UPDATE users SET score = t.v FROM two AS t WHERE t.k = users.id"),
    Case(
        "update from join",
        "UPDATE child SET name = p.name || u.name FROM parent p JOIN users u ON u.id = p.id"
        " WHERE child.parent = p.id",
    ),
    Case(
        "update from select",
        "UPDATE users SET score = s.total FROM (SELECT parent, count(*) AS total FROM child"
        " GROUP BY parent) AS s WHERE s.parent = users.id",
    ),
    Case("update or replace", "UPDATE OR REPLACE two SET u = 'a' WHERE k = 2"),
    Case("update or ignore", "UPDATE OR IGNORE two SET v = 100, n = 9", changes=True),
    Case("update or abort", "UPDATE OR ABORT two SET n = 3"),
    Case("update or fail", "UPDATE OR FAIL two SET n = 4"),
    Case("update or rollback", "UPDATE OR ROLLBACK two SET n = 6"),
    Case("update indexed", "UPDATE users INDEXED BY users_by_score SET note = 1 WHERE score > 25"),
    Case("update not indexed", "UPDATE users NOT INDEXED SET note = 2 WHERE score > 25"),
    Case("update alias", "UPDATE users AS u SET note = u.score WHERE u.id = 4"),
    Case("update key", "UPDATE pairs SET a = a + 10"),
    Case("update cascade", "UPDATE parent SET id = id + 10 WHERE id = 1"),
    Case("update generated", "UPDATE boxes SET w = area, h = h + 1"),
    Case("update case", "UPDATE users SET note = CASE score WHEN 10 THEN 'ten' ELSE note END"),
    Case("update null", "UPDATE users SET note = NULL, ratio = 1.0 / 3 WHERE id <= 2"),
    Case("update json", "UPDATE items SET tags = json_set(tags, '$[#]', json('{\"k\":[1,2]}'))"),
    Case(
        "update json arrow",
        "UPDATE items SET label = tags ->> 0, price = json_array_length(tags)",
    ),
    Case(
        "update json group", "UPDATE users SET note = (SELECT json_group_array(label) FROM items)"
    ),
    Case("update view", "UPDATE user_names SET name = name || '?' WHERE id = 2"),
    Case("update strict", "UPDATE typed SET x = r, i = i + 1"),
    Case("update rowid", "UPDATE loose SET rowid = rowid + 100 WHERE a = 2"),
    Case("update glob", "UPDATE users SET note = 'g' WHERE name GLOB '[A-C]*' OR name LIKE '%n'"),
    Case("update between", "UPDATE log SET b = a WHERE a BETWEEN 5 AND 6 AND NOT (b ISNULL)"),
    Case(
        "update window",
        "UPDATE users SET score = (SELECT r FROM (SELECT id, row_number() OVER"
        " (ORDER BY name DESC) AS r FROM users) WHERE id = users.id)",
    ),
    Case("update full text", "UPDATE papers SET body = 'calm' WHERE papers MATCH 'sea'"),
]

DELETES = [
    Case("delete where", "DELETE FROM users WHERE id = 2"),
    Case("delete all", "DELETE FROM users"),
    Case("delete none", "DELETE FROM users WHERE 0", changes=False),
    Case("delete subquery", "DELETE FROM log WHERE n IN (SELECT id FROM users WHERE score < 25)"),
    Case("delete exists", "DELETE FROM two AS t WHERE EXISTS (SELECT 1 FROM users WHERE id = t.k)"),
    Case("delete indexed", "DELETE FROM users INDEXED BY users_by_score WHERE score = 10"),
    Case("delete not indexed", "DELETE FROM users NOT INDEXED WHERE score = 10"),
    Case("delete cascade", "DELETE FROM parent WHERE id = 1"),
    Case("delete row value", "DELETE FROM pairs WHERE (a, b) IN ((1, 1), (2, 1))"),
    Case("delete rowid", "DELETE FROM loose WHERE _rowid_ = 2"),
    Case("delete full text", "DELETE FROM papers WHERE title = 'salt'"),
    Case("delete or", "DELETE FROM loose WHERE a IS 1 OR b IS NOT 'two'"),
]

RETURNINGS = [
    Case("returning insert", "INSERT INTO log (a) VALUES ('r') RETURNING n, a AS x"),
    Case("returning star", "UPDATE users SET score = score + 1 RETURNING *"),
    Case("returning delete", "DELETE FROM users WHERE id = 1 RETURNING name, (SELECT 1)"),
    Case(
        "returning upsert",
        "INSERT INTO two VALUES (1, 'q', 9, 9) ON CONFLICT (k) DO UPDATE"
        " SET n = 1 WHERE n = 0 RETURNING *",
    ),
    Case("returning parameter", "INSERT INTO log (a) VALUES (?) RETURNING n + ?, ?", ("p", 5, "z")),
    Case("returning named", "UPDATE log SET a = :a RETURNING :b, :a", {"a": 1, "b": 2}),
    Case("returning numbered", "DELETE FROM log WHERE n = ?2 RETURNING ?1 || n", ("x", 2)),
    Case("returning string", "INSERT INTO log (a) VALUES (' RETURNING n ') RETURNING 'returning'"),
    Case(
        "returning comment",
        "INSERT INTO log (a) /* RETURNING 1 */ VALUES (1) -- RETURNING 2\n"
        " RETURNING /* x */ n -- last",
    ),
    Case("returning word in string only", "UPDATE log SET a = 'returning *'"),
    Case("returning quoted name", 'INSERT INTO "returning" (x) VALUES (1) RETURNING "returning"'),
    Case("returning bracketed", "UPDATE [returning] SET x = [returning] WHERE [returning] = 1"),
    Case("returning after line comment", "DELETE FROM log WHERE n = 1 -- one\nRETURNING a"),
    Case("returning semicolon", "INSERT INTO log (a) VALUES (2) RETURNING n;"),
    Case("returning lower case", 'insert into log (a) values (3) returning n as "select"'),
    Case(
        "returning after with",
        "WITH x AS (SELECT 7 AS v) INSERT INTO log (a) SELECT v FROM x RETURNING a",
    ),
]

WITHS = [
    Case(
        "with insert",
        "WITH t (x) AS (VALUES (1), (2)) INSERT INTO log (a) SELECT x FROM t ORDER BY x",
    ),
    Case(
        "with recursive insert",
        "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 50)"
        " INSERT INTO loose SELECT i, i * i, 'n' || i FROM c",
    ),
    Case(
        "with update",
        "WITH m AS (SELECT max(score) AS s FROM users) UPDATE users SET score ="
        " (SELECT s FROM m) WHERE id = 1",
    ),
    Case(
        "with delete",
        "WITH old AS (SELECT id FROM users WHERE score < 25) DELETE FROM users WHERE id IN old",
    ),
    Case(
        "with replace",
        "WITH t AS (SELECT 1 AS a, 1 AS b, 'w' AS c) REPLACE INTO pairs SELECT * FROM t",
    ),
    Case(
        "with several",
        "WITH a AS (SELECT 1 AS x), b AS MATERIALIZED (SELECT x + 1 AS y FROM a),"
        " c AS NOT MATERIALIZED (SELECT y FROM b) INSERT INTO log (a) SELECT y FROM c",
    ),
    Case("with inside", "INSERT INTO log (a) WITH t AS (SELECT 9 AS v) SELECT v FROM t"),
    Case(
        "with insert in name",
        'WITH "insert into" AS (SELECT 3 AS v) DELETE FROM log WHERE n IN'
        ' (SELECT v FROM "insert into")',
    ),
    Case(
        "with update from",
        "WITH t AS (SELECT k, v FROM two) UPDATE users SET score = t.v FROM t WHERE t.k = users.id",
    ),
    Case(
        "with parameters",
        "WITH t (x) AS (VALUES (?), (?)) INSERT INTO log (a, b) SELECT x, ? FROM t ORDER BY x",
        (2, 1, "with"),
    ),
    Case(
        "with upsert",
        "WITH t AS (SELECT 1 AS k) INSERT INTO two (k, u) SELECT k, 'w' FROM t WHERE 1"
        " ON CONFLICT (k) DO UPDATE SET n = n + 1",
    ),
]

NAMES = [
    Case("name quoted", 'INSERT INTO "users" ("name") VALUES (\'quoted\')'),
    Case("name bracketed", "INSERT INTO [users] ([name]) VALUES ('bracketed')"),
    Case("name back-quoted", "INSERT INTO `users` (`name`) VALUES ('back')"),
    Case("name single-quoted", "UPDATE 'users' SET 'score' = 1 WHERE id = 1"),
    Case("name main", "INSERT INTO main.users (name) VALUES ('main')"),
    Case("name main quoted", 'DELETE FROM "main" . "users" WHERE id = 1'),
    Case("name main update", "UPDATE [main].`users` SET score = 3"),
    Case("name keyword", 'INSERT INTO "order" ("select", "from", "a b") VALUES (9, \'f\', \'ab\')'),
    Case("name keyword update", 'UPDATE "order" SET "from" = "a b", [a b] = `from`'),
    Case("name unicode", 'INSERT INTO größe ("höhe ☃") VALUES (1.5)'),
    Case("name unicode update", 'UPDATE "größe" SET "höhe ☃" = -"höhe ☃"'),
    Case("name weird", 'INSERT INTO "we""ird.name" ("a""b", "?") VALUES (?, \'?\')', (5,)),
    Case("name weird update", 'UPDATE "we""ird.name" SET "?" = ? || "?"', ("x",)),
    Case("name other case", "INSERT INTO UsErS (NAME) VALUES ('mixed')"),
    Case("name spaces", "INSERT\n\tINTO\r\n users\f(name)\nVALUES\n('spaced')"),
    Case("no spaces", 'INSERT INTO"users"("name")VALUES(\'tight\')'),
    Case("keyword as alias", 'UPDATE users SET note = 1 WHERE id IN (SELECT k AS "set" FROM two)'),
    Case("lower case", "insert or replace into users (id, name) values (1, 'lower')"),
]

COMMENTS = [
    Case("comment first", "-- first\nINSERT INTO log (a) VALUES (1)"),
    Case("comment block first", "/* UPDATE users */ DELETE FROM log WHERE n = 1"),
    Case("comment last", "INSERT INTO log (a) VALUES (1) -- last"),
    Case("comment last semicolon", "INSERT INTO log (a) VALUES (1); -- last; really"),
    Case("comment block last", "INSERT INTO log (a) VALUES (1) /* open"),
    Case("comment inside", "INSERT/**/INTO/* a */log/* ? */(a)--:x\nVALUES(1)"),
    Case("comment with quotes", "UPDATE log /* it's */ SET a = 1 -- \"\n WHERE n = 1"),
    Case("comment with placeholder", "UPDATE log SET a = ? -- ? and :b\n WHERE n = ?", ("c", 1)),
    Case("comment dashes", "UPDATE log SET a = 5--6\n+1 WHERE n = 1"),
    Case("minus minus", "UPDATE log SET a = 5 - -6 WHERE n = 1"),
    Case(
        "semicolons",
        ";; INSERT INTO log (a) VALUES (1);;; ",
        parts=(("INSERT INTO log (a) VALUES (1)", None),),
    ),
    Case("semicolon in string", "INSERT INTO log (a) VALUES (';'); "),
    Case("byte order", "\n\n   UPDATE log SET a = 1\n\n  ;  \n"),
]

SCRIPTS = [
    Case(
        "two statements",
        "INSERT INTO log (a) VALUES (1); UPDATE log SET b = 'all'",
        parts=(("INSERT INTO log (a) VALUES (1)", None), ("UPDATE log SET b = 'all'", None)),
    ),
    Case(
        "three with parameters",
        "INSERT INTO log (a) VALUES (?); DELETE FROM log WHERE n = ?; UPDATE log SET b = ?;",
        ("one", 2, "three"),
        parts=(
            ("INSERT INTO log (a) VALUES (?)", ("one",)),
            ("DELETE FROM log WHERE n = ?", (2,)),
            ("UPDATE log SET b = ?", ("three",)),
        ),
    ),
    Case(
        "several with names",
        "UPDATE log SET a = :v; INSERT INTO log (a, b) VALUES (:v, :w)",
        {"v": 3, "w": "x"},
        parts=(
            ("UPDATE log SET a = :v", {"v": 3, "w": "x"}),
            ("INSERT INTO log (a, b) VALUES (:v, :w)", {"v": 3, "w": "x"}),
        ),
    ),
    Case(
        "with a read",
        "INSERT INTO log (a) VALUES (1); SELECT count(*) FROM log; DELETE FROM log WHERE n = 2",
        parts=(("INSERT INTO log (a) VALUES (1)", None), ("DELETE FROM log WHERE n = 2", None)),
    ),
    Case(
        "in a transaction",
        "BEGIN; INSERT INTO log (a) VALUES (1); INSERT INTO log (a) VALUES (2); COMMIT;",
        parts=(("INSERT INTO log (a) VALUES (1), (2)", None),),
    ),
    Case(
        "rolled back in part",
        "INSERT INTO log (a) VALUES (1); SAVEPOINT s; DELETE FROM log; ROLLBACK TO s; RELEASE s;",
        parts=(("INSERT INTO log (a) VALUES (1)", None),),
    ),
    Case(
        "with comments between",
        "INSERT INTO log (a) VALUES (1) -- one; two\n; /* ; */ UPDATE log SET b = ';' -- end",
        parts=(("INSERT INTO log (a) VALUES (1)", None), ("UPDATE log SET b = ';'", None)),
    ),
    Case(
        "with returning between",
        "INSERT INTO log (a) VALUES (1) RETURNING n; UPDATE log SET b = 2 RETURNING *;",
        parts=(("INSERT INTO log (a) VALUES (1)", None), ("UPDATE log SET b = 2", None)),
    ),
]

PARAMETERS = [
    Case("? by tuple", "INSERT INTO log (a, b) VALUES (?, ?)", (1, "b")),
    Case("? by list", "INSERT INTO log (a, b) VALUES (?, ?)", [1, None]),
    Case("?NNN", "INSERT INTO log (a, b) VALUES (?2, ?1)", ("b", "a")),
    Case("?NNN twice", "UPDATE log SET a = ?1, b = ?1 || ?2 WHERE n < ?3", ("x", "y", 3)),
    Case("? after ?NNN", "INSERT INTO loose VALUES (?2, ?, ?1)", ("one", "two", "three")),
    Case(":name", "INSERT INTO log (a, b) VALUES (:a, :b)", {"a": 1, "b": 2}),
    Case("@name", "INSERT INTO log (a, b) VALUES (@a, @b)", {"a": 1, "b": 2}),
    Case("$name", "INSERT INTO log (a, b) VALUES ($a, $b)", {"a": 1, "b": 2}),
    Case("mixed names", "INSERT INTO loose VALUES (:a, @b, $c)", {"a": 1, "b": 2, "c": 3, "d": 4}),
    Case(":name twice", "UPDATE log SET a = :v, b = :v WHERE n = :n", {"v": "same", "n": 2}),
    Case("unicode name", "UPDATE log SET a = :größe", {"größe": 1.5}),
    Case("negative after minus", "UPDATE log SET a = a-? WHERE n < 4", (-5,)),
    Case("negative after minus spaced", "UPDATE log SET a = a - ? WHERE n < 4", (-2.5,)),
    Case("negated", "UPDATE log SET a = -? WHERE n < 4", (-7,)),
    Case("smallest negated", "INSERT INTO log (a) VALUES (?)", (-(2**63),)),
    Case(
        "limit without space", "INSERT INTO log (a) SELECT name FROM users ORDER BY id LIMIT?", (2,)
    ),
    Case(
        "limit offset",
        "INSERT INTO log (a) SELECT name FROM users ORDER BY id LIMIT ? OFFSET ?",
        (1, 2),
    ),
    Case("no space before and", "UPDATE log SET b = 'x' WHERE a>?AND a<?OR n=?", (4, 7, 4)),
    Case("no space before else", "UPDATE log SET b = CASE WHEN n=?THEN?ELSE?END", (1, "t", "e")),
    Case(
        "order by parameter", "INSERT INTO log (a) SELECT name FROM users ORDER BY ?, id DESC", (1,)
    ),
    Case(
        "order by parameter desc",
        "INSERT INTO log (a, b) SELECT score, name FROM users ORDER BY ? DESC, name DESC",
        (2,),
    ),
    Case("group by parameter", "INSERT INTO log (a) SELECT count(*) FROM loose GROUP BY ?", (1,)),
    Case("in list", "DELETE FROM log WHERE n IN (?,?,?)", (1, 3, 99)),
    Case("like", "UPDATE users SET note = ? WHERE name LIKE ? ESCAPE ?", ("l", "%a%", "\\")),
    Case("concatenated", "UPDATE log SET b = ?||b||?", ("<", ">")),
    Case("collated", "UPDATE users SET note = 1 WHERE name = ? COLLATE NOCASE", ("ADA",)),
    Case("cast", "INSERT INTO loose VALUES (CAST(? AS TEXT), typeof(?), ? + 0)", (5, 5, "5")),
    Case("affinity", "INSERT INTO typed (id, t, x) VALUES (?, ?, ?)", (9, 5, "5")),
    Case("affinity compare", "UPDATE users SET note = 'hit' WHERE score = ?", ("10",)),
    Case("loose compare", "UPDATE loose SET c = 'hit' WHERE a = ?", ("3",)),
    Case("no affinity compare", "UPDATE loose SET c = 'hit' WHERE a = ?", (3,), changes=False),
    Case("integer division", "UPDATE log SET b = a / ? WHERE n < 3", (2,)),
    Case("float division", "UPDATE log SET b = a / ? WHERE n < 3", (2.0,)),
    Case("whole float", "INSERT INTO loose VALUES (?, typeof(?), ? || '')", (3.0, 3.0, 3.0)),
    Case("json path", "UPDATE items SET tags = json_insert(tags, ?, ?)", ("$[#]", 'x"y')),
    Case("json parameter", "UPDATE items SET label = ? -> ?, price = 2", ('{"a":[1,2]}', "$.a")),
    Case("question mark in string", "UPDATE log SET a = '?' || ? || \"n\" || ':b'", ("!",)),
    Case("row value", "UPDATE pairs SET c = ? WHERE (a, b) = (?, ?)", ("rv", 1, 2)),
    Case("default null", "INSERT INTO log VALUES (?, ?, ?)", (None, None, None)),
    Case("string with quotes", "UPDATE users SET name = ? WHERE id = ?", ("O'Neil \"; --", 1)),
    Case(
        "upsert parameters",
        "INSERT INTO two VALUES (?, ?, ?, ?) ON CONFLICT (k) DO UPDATE SET n = n + ? WHERE n < ?",
        (1, "q", 9, 9, 5, 100),
    ),
    Case(
        "update from parameters",
        "UPDATE users SET score = t.v + ? FROM two t WHERE t.k = users.id AND t.v > ?",
        (1, 150),
    ),
    Case("full text match", "UPDATE papers SET body = ? WHERE papers MATCH ?", ("found", "sail")),
    Case(
        "many",
        "INSERT INTO log (a, b) VALUES (?, ?)",
        [(n, f"m{n}") for n in range(300)],
        many=True,
    ),
    Case(
        "many named",
        "UPDATE log SET a = :a WHERE n = :n",
        [{"n": n, "a": -n} for n in (1, 2)],
        many=True,
    ),
    Case(
        "many not idempotent",
        "UPDATE users SET score = score + ?",
        [(n,) for n in range(40)],
        many=True,
    ),
]

CASES = [
    *INSERTS,
    *UPSERTS,
    *UPDATES,
    *DELETES,
    *RETURNINGS,
    *WITHS,
    *NAMES,
    *COMMENTS,
    *SCRIPTS,
    *PARAMETERS,
]


def test_there_are_enough_kinds() -> None:
    assert len({case.sql for case in CASES}) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_statement_has_the_same_effect_on_every_replica(seeded: World, case: Case) -> None:
    tables = seeded.primary.tables()
    before = contents(seeded.primary.read, tables)
    result = None
    for sql, params in case.parts or ((case.sql, case.params),):
        result = seeded.primary.run(sql, params, many=case.many)
    changed = contents(seeded.primary.read, tables) != before
    assert changed == case.changes, "the case does not show what it is meant to show"
    replication = seeded.replicator.after_query(
        case.sql, case.params, None if case.parts else result, many=case.many
    )
    fulfilled(replication)
    assert_same(seeded.primary, *seeded.replicas)


def test_all_of_them_in_one_go_leave_no_difference(seeded: World) -> None:
    """Without waiting in between, so that they travel in batches and meet what others left."""
    refused = 0
    before = seeded.replicator.stats()
    for case in [*CASES, *CASES]:
        try:
            seeded.run(case)
        except sqlite3.IntegrityError:
            refused += 1
            # What the statements of a text did before the one that failed is still there.
            assert not case.parts, case
    assert seeded.replicator.flush(TIMEOUT)
    after = seeded.replicator.stats()
    assert refused < len(CASES) // 4
    assert after.writes - before.writes == 2 * len(CASES) - refused
    assert [s.rejected for s in after.replicas] == [s.rejected for s in before.replicas]
    assert [s.changes_differ for s in after.replicas] == [0, 0]
    assert_same(seeded.primary, *seeded.replicas)


def test_executemany_without_rows_is_nothing(world: World) -> None:
    before = world.replicator.stats()
    assert world.replicator.after_query("INSERT INTO log (a) VALUES (?)", [], many=True) is None
    after = world.replicator.stats()
    assert after.writes == before.writes
    assert [s.rejected for s in after.replicas] == [s.rejected for s in before.replicas]


def test_the_count_of_rows_is_right_after_a_full_text_write(seeded: World) -> None:
    """FTS5 writes what it has gathered whenever a savepoint opens, which counts as changes too."""
    with seeded.replicator.transaction() as transaction:
        for sql in ("INSERT INTO papers (title) VALUES ('new')", "DELETE FROM loose"):
            transaction.after_query(sql, None, seeded.primary.run(sql))
    fulfilled(transaction.replication)
    assert_same(seeded.primary, *seeded.replicas)


LIMITED = [
    Case("update limit", "UPDATE users SET score = 0 ORDER BY id DESC LIMIT 2"),
    Case("delete limit", "DELETE FROM log WHERE n > 0 ORDER BY n DESC LIMIT ? OFFSET ?", (2, 1)),
    Case("delete limit without order", "DELETE FROM log LIMIT?", (1,)),
]


@pytest.mark.parametrize("case", LIMITED, ids=lambda case: case.name)
def test_update_and_delete_with_limit(seeded: World, case: Case) -> None:
    """Many builds of SQLite lack them, the replicas have them: then the effect is told apart."""
    options = {option for (option,) in seeded.primary.rows("PRAGMA compile_options")}
    if "ENABLE_UPDATE_DELETE_LIMIT" not in options:
        with pytest.raises(sqlite3.OperationalError, match="syntax error"):
            seeded.primary.run(case.sql, case.params)
        pytest.skip("this Python's SQLite has no UPDATE or DELETE with LIMIT")
    seeded.run(case)
    assert seeded.replicator.flush(TIMEOUT)
    assert_same(seeded.primary, *seeded.replicas)


DDL = [
    "CREATE TABLE made (id INTEGER PRIMARY KEY, a TEXT)",
    "INSERT INTO made (a) VALUES ('before')",
    "ALTER TABLE made ADD COLUMN b INT NOT NULL DEFAULT 7",
    "INSERT INTO made (a, b) VALUES ('after', 8)",
    "CREATE INDEX made_by_b ON made (b)",
    "UPDATE made INDEXED BY made_by_b SET a = 'indexed' WHERE b = 8",
    "ALTER TABLE made RENAME COLUMN a TO c",
    "UPDATE made SET c = c || '!'",
    "CREATE VIEW seen AS SELECT c FROM made",
    (
        "CREATE TRIGGER noted AFTER INSERT ON made WHEN new.b = 9 BEGIN"
        " UPDATE made SET c = 'trigger; end' WHERE b = 7; DELETE FROM made WHERE b = 8; END"
    ),
    "INSERT INTO made (c, b) VALUES ('fires', 9)",
    "DROP TRIGGER noted",
    "INSERT INTO made (c, b) VALUES ('silent', 9)",
    "DROP VIEW seen",
    "ALTER TABLE made RENAME TO remade",
    "CREATE UNIQUE INDEX IF NOT EXISTS remade_c ON remade (c)",
    "INSERT OR IGNORE INTO remade (c) VALUES ('silent')",
    "CREATE TABLE copied AS SELECT c, b FROM remade ORDER BY id",
    "DROP INDEX made_by_b",
    "ALTER TABLE remade DROP COLUMN b",
    "DROP INDEX remade_c",
    "CREATE TABLE gone (x)",
    "INSERT INTO gone VALUES (1)",
    "DROP TABLE IF EXISTS gone",
]

OBJECTS = (
    "SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'tmp\\_%' ESCAPE '\\'"
    " AND tbl_name NOT LIKE 'tmp\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'"
    " ORDER BY type, name"
)


def test_ddl_is_replicated_in_order_when_asked_for(tmp_path: Path) -> None:
    with (
        Primary(tmp_path / "primary.db") as primary,
        both_engines(tmp_path) as replicas,
        connect(*replicas, ddl=True) as replicator,
    ):
        replications = []
        for sql in DDL:
            primary.run(sql)
            replications.append(replicator.after_query(sql))
        for replication in replications:
            fulfilled(replication)
        assert_same(primary, *replicas)
        for process in replicas:
            assert process.client().rows(OBJECTS) == primary.rows(OBJECTS), process.name
        stats = replicator.stats()
        assert counted(stats.skipped) == {}
        assert stats.writes == len(DDL)


def test_ddl_is_skipped_and_counted_by_default(world: World) -> None:
    before = counted(world.replicator.stats().skipped)
    schema = [process.client().rows(OBJECTS) for process in world.replicas]
    ddl = [sql for sql in DDL if sql.split()[0] in ("CREATE", "ALTER", "DROP")]
    assert [world.replicator.after_query(sql) for sql in ddl] == [None] * len(ddl)
    after = counted(world.replicator.stats().skipped)
    assert after["ddl"] - before.get("ddl", 0) == len(ddl)
    assert [process.client().rows(OBJECTS) for process in world.replicas] == schema


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT * FROM users", "read"),
        ("WITH t AS (SELECT 1) SELECT * FROM t", "read"),
        ("VALUES (1)", "read"),
        ("EXPLAIN DELETE FROM users", "read"),
        ("EXPLAIN QUERY PLAN UPDATE users SET score = 0", "read"),
        ("BEGIN IMMEDIATE", "txn"),
        ("COMMIT", "txn"),
        ("ROLLBACK", "txn"),
        ("SAVEPOINT a", "txn"),
        ("RELEASE a", "txn"),
        ("PRAGMA user_version = 3", "other"),
        ("VACUUM", "other"),
        ("ANALYZE", "other"),
        ("ATTACH 'other.db' AS other", "other"),
        ("INSERT INTO temp.t VALUES (1)", "temp"),
        ("CREATE TEMP TABLE t (a)", "ddl"),
        ("INSERT INTO other.t VALUES (1)", "attached"),
        ("MERGE INTO users", "unparsed"),
    ],
)
def test_what_changes_no_replica_is_counted_with_its_reason(
    world: World, sql: str, reason: str
) -> None:
    before = counted(world.replicator.stats().skipped)
    writes = world.replicator.stats().writes
    assert world.replicator.after_query(sql) is None
    after = counted(world.replicator.stats().skipped)
    assert after == before | {reason: before.get(reason, 0) + 1}
    assert world.replicator.stats().writes == writes


def test_a_text_of_nothing_is_nothing(world: World) -> None:
    before = world.replicator.stats()
    for sql in ("", " ", ";", "-- only a comment", "/* only a comment", ";;\n"):
        assert world.replicator.after_query(sql) is None
    after = world.replicator.stats()
    assert (after.writes, after.skipped) == (before.writes, before.skipped)
