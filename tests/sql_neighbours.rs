//! Whatever a statement ends with, the `;` after it ends it: what follows is read as if it stood alone.

use afterquery::sql::classify;

/// One for each way a statement can end.
const ENDINGS: [&str; 36] = [
    "SELECT a FROM t ORDER BY b",
    "SELECT a FROM t ORDER BY b DESC",
    "SELECT a FROM t ORDER BY 1",
    "SELECT a FROM t ORDER BY ?",
    "SELECT a FROM t ORDER BY (b)",
    "SELECT a FROM t ORDER BY b COLLATE NOCASE NULLS LAST",
    "SELECT a FROM t GROUP BY b",
    "SELECT a FROM t GROUP BY b HAVING c",
    "SELECT a FROM t ORDER BY b LIMIT 1",
    "SELECT a FROM t LIMIT ? OFFSET ?",
    "SELECT a FROM t WINDOW w AS (ORDER BY b)",
    "SELECT sum(a) OVER (PARTITION BY b ORDER BY c) FROM t",
    "SELECT date('now')",
    "SELECT date(a, ?)",
    "SELECT CURRENT_TIMESTAMP",
    "SELECT random()",
    "SELECT x'00'",
    "SELECT 'a;b'",
    "SELECT \"a;b\"",
    "SELECT [a;b]",
    "SELECT `a;b` -- c;d\n",
    "VALUES (1), (2)",
    "INSERT INTO t SELECT a FROM u ORDER BY b",
    "INSERT INTO t (a) VALUES (1)",
    "INSERT INTO t DEFAULT VALUES",
    "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = excluded.b WHERE c",
    "INSERT INTO t VALUES (1) RETURNING a",
    "REPLACE INTO t VALUES (1) /* ; */",
    "UPDATE t SET a = 1 FROM u WHERE t.b = u.b",
    "UPDATE t SET (a, b) = (SELECT 1, 2 ORDER BY c)",
    "DELETE FROM t WHERE a IN (SELECT b FROM u ORDER BY c)",
    "WITH w AS (SELECT 1 ORDER BY a) DELETE FROM t",
    "CREATE TABLE t (a DEFAULT CURRENT_TIMESTAMP)",
    "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; UPDATE t SET a = 1; END",
    "ROLLBACK TO s",
    "PRAGMA a = b",
];

#[test]
fn every_ending_before_every_beginning() {
    for first in ENDINGS {
        for second in ENDINGS {
            for between in [";", " ; ", ";;", "/* a */;-- b\n"] {
                let text = format!("{first}{between}{second}");
                let found = classify(&text);
                let (alone, other) = (classify(first), classify(second));
                assert_eq!(found.statements.len(), 2, "{text}");
                for (statement, alone) in
                    found.statements.iter().zip([&alone.statements[0], &other.statements[0]])
                {
                    assert_eq!((statement.kind, statement.verb), (alone.kind, alone.verb), "{text}");
                    assert_eq!(statement.table, alone.table, "{text}");
                    assert_eq!(statement.placeholders.len(), alone.placeholders.len(), "{text}");
                    assert_eq!(statement.reasons.len(), alone.reasons.len(), "{text}");
                    assert_eq!(statement.returning.is_some(), alone.returning.is_some(), "{text}");
                    assert_eq!(statement.span.len(), alone.span.len(), "{text}");
                }
            }
        }
    }
}
