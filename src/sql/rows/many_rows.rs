//! Finding the rows of an INSERT of constants, so that it can be sent as several.
//!
//! SQLite inserts the rows of `INSERT … VALUES (…),(…)` one after another, each with its triggers, conflicts and keys. So
//! two INSERTs of half the rows each do the same, as long as no row and no clause looks at what the rows before it did: no
//! subquery, no column, no counter of the connection. What does differ is told by the replica: a foreign key that is not
//! deferred is checked at the end of each statement, and a row may point to one that is inserted only later.

use std::ops::Range;

use super::one_row::Reader;
use crate::sql::{
    large::content::reference_at,
    text::{
        token::{Lexer, TokenKind},
        words::is,
    },
};

/// An INSERT whose rows are constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManyRows<'a> {
    sql: &'a str,
    /// Each row with its parentheses.
    rows: Vec<Range<usize>>,
}

/// Functions whose result depends on nothing but their arguments.
const PURE: [&str; 17] = [
    "ABS", "CHAR", "COALESCE", "HEX", "IFNULL", "JSON", "JSONB", "LENGTH", "LOWER", "LTRIM", "NULLIF",
    "REPLACE", "ROUND", "RTRIM", "TRIM", "UNHEX", "UPPER",
];

/// Words that may stand in a constant expression.
const CONSTANT: [&str; 9] = ["NULL", "TRUE", "FALSE", "CAST", "AS", "TEXT", "BLOB", "INTEGER", "REAL"];

/// Words that make what follows the rows depend on more than the row in question.
const DEPENDENT: [&str; 7] =
    ["SELECT", "VALUES", "EXISTS", "WITH", "CHANGES", "TOTAL_CHANGES", "LAST_INSERT_ROWID"];

impl<'a> ManyRows<'a> {
    /// The rows of `sql`, if it is an INSERT or REPLACE of constants.
    pub fn find(sql: &'a str) -> Option<Self> {
        let mut reader = Reader { lexer: Lexer::new(sql) };
        // FAIL and ROLLBACK do not undo just the statement that fails.
        reader.head(&["REPLACE", "ABORT", "IGNORE"])?;
        let mut rows = Vec::new();
        loop {
            let start = reader.open()?;
            rows.push(start..row_end(sql, &mut reader.lexer)?);
            let ahead = reader.lexer;
            match reader.lexer.next().kind {
                TokenKind::Comma => {}
                TokenKind::End => break,
                TokenKind::Word => {
                    reader.lexer = ahead;
                    is_independent(&mut reader.lexer)?;
                    break;
                }
                _ => return None,
            }
        }
        Some(Self { sql, rows })
    }

    /// The rows, each with its parentheses.
    pub fn each(&self) -> impl Iterator<Item = &'a str> {
        let sql = self.sql;
        self.rows.iter().map(move |row| sql.get(row.clone()).unwrap_or_default())
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none: it has one at least.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The same INSERT of these rows alone, in bytes.
    pub fn size(&self, rows: Range<usize>) -> usize {
        self.head().len() + self.between(rows).len() + self.tail().len()
    }

    /// The same INSERT of these rows alone.
    pub fn part(&self, rows: Range<usize>) -> String {
        [self.head(), self.between(rows), self.tail()].concat()
    }

    /// How many rows from number `from` on make a text of at most `room` bytes; 0 if not even one.
    pub fn fitting(&self, from: usize, room: usize) -> usize {
        let fits = |end: &usize| self.size(from..*end) <= room;
        // Sizes grow with each row.
        let (mut low, mut high) = (from, self.rows.len());
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(&middle) { low = middle } else { high = middle - 1 }
        }
        low - from
    }

    /// What comes before the rows.
    pub fn head(&self) -> &'a str {
        self.rows.first().and_then(|row| self.sql.get(..row.start)).unwrap_or_default()
    }

    /// What comes after them.
    pub fn tail(&self) -> &'a str {
        self.rows.last().and_then(|row| self.sql.get(row.end..)).unwrap_or_default()
    }

    fn between(&self, rows: Range<usize>) -> &'a str {
        match self.rows.get(rows) {
            Some([first, .., last]) => self.sql.get(first.start..last.end).unwrap_or_default(),
            Some([only]) => self.sql.get(only.clone()).unwrap_or_default(),
            Some([]) | None => "",
        }
    }
}

/// Reads to the `)` that ends a row, if all in it is constant. Where that is.
fn row_end(sql: &str, lexer: &mut Lexer<'_>) -> Option<usize> {
    let mut depth = 1;
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::Open => match reference_at(sql, token.start) {
                Some(reference) => lexer.go_to(reference.end),
                None => depth += 1,
            },
            TokenKind::Close => {
                depth -= 1;
                if depth == 0 {
                    return Some(token.end);
                }
            }
            TokenKind::Word => {
                let word = lexer.slice(token);
                let mut ahead = *lexer;
                let calls = ahead.next().kind == TokenKind::Open && !is(word, "AS");
                let known: &[&str] = if calls && !is(word, "CAST") { &PURE } else { &CONSTANT };
                known.iter().any(|known| is(word, known)).then_some(())?;
            }
            TokenKind::Number
            | TokenKind::Text
            | TokenKind::Blob
            | TokenKind::Variable
            | TokenKind::Comma
            | TokenKind::Sign
            | TokenKind::Operator => {}
            TokenKind::Quoted | TokenKind::Semi | TokenKind::Dot | TokenKind::Illegal | TokenKind::End => {
                return None;
            }
        }
    }
}

/// Whether what follows the rows (`ON CONFLICT …`) looks at the row in question alone.
fn is_independent(lexer: &mut Lexer<'_>) -> Option<()> {
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => return Some(()),
            TokenKind::Semi | TokenKind::Illegal => return None,
            TokenKind::Word if DEPENDENT.iter().any(|word| is(lexer.slice(token), word)) => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json_rows::JsonRows;
    use super::*;
    use crate::sql::large::content::LargeContent;
    use proptest::prelude::*;
    use rusqlite::{Connection, types::Value as Stored};

    #[test]
    fn only_rows_of_constants_are_found() {
        for (sql, rows) in [
            ("INSERT INTO t VALUES (1),(-2) , (x'00', 'a)(', NULL)", 3),
            ("replace into [t] (\"a\", b) values (1, 2)", 1),
            ("INSERT OR IGNORE INTO s.t VALUES (1 + 1), (CAST('1' AS TEXT)), (upper('a' || 'b'))", 3),
            (
                "INSERT INTO t VALUES (1),(2) ON CONFLICT (a) DO UPDATE SET b = excluded.b + t.b WHERE b > 1",
                2,
            ),
            (
                "INSERT INTO t VALUES ((SELECT v FROM tmp_afterquery_value WHERE id=12)), ((+CAST(x'00' AS TEXT)))",
                2,
            ),
        ] {
            assert_eq!(ManyRows::find(sql).map(|many| many.len()), Some(rows), "{sql}");
        }
        for sql in [
            "INSERT INTO t SELECT 1",
            "INSERT INTO t DEFAULT VALUES",
            "INSERT INTO t VALUES (1),(random())",
            "INSERT INTO t VALUES (1),(b)",
            "INSERT INTO t VALUES (1),(\"b\")",
            "INSERT INTO t VALUES (1),(CURRENT_TIMESTAMP)",
            "INSERT INTO t VALUES (1),(last_insert_rowid())",
            "INSERT INTO t VALUES (1),((SELECT max(a) FROM t))",
            "INSERT INTO t VALUES ((SELECT v FROM tmp_afterquery_value WHERE id=12 OR 1))",
            "INSERT OR FAIL INTO t VALUES (1),(2)",
            "INSERT OR ROLLBACK INTO t VALUES (1),(2)",
            "INSERT INTO t VALUES (1),(2) ON CONFLICT (a) DO UPDATE SET b = (SELECT count(*) FROM t)",
            "INSERT INTO t VALUES (1),(2) ON CONFLICT (a) DO UPDATE SET b = changes()",
            "INSERT INTO t VALUES (1),(2);",
            "INSERT INTO t VALUES (1),",
            "WITH c AS (SELECT 1) INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
        ] {
            assert_eq!(ManyRows::find(sql), None, "{sql}");
        }
    }

    const SCHEMA: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE, b NUMERIC, c);
        CREATE TABLE log (n INTEGER PRIMARY KEY, what, id, a, c);
        CREATE TRIGGER i AFTER INSERT ON t BEGIN INSERT INTO log (what, id, a, c) VALUES ('i', new.id, new.a, new.c); END;
        CREATE TRIGGER u AFTER UPDATE ON t BEGIN INSERT INTO log (what, id, a, c) VALUES ('u', new.id, new.a, new.c); END;
        CREATE TABLE tmp_afterquery_value (id INTEGER PRIMARY KEY, origin, parts, v);";

    const ROWS: &str = "INSERT INTO t VALUES (3, 'three', 3, 3), (7, '7', 7, 7);";

    fn all(db: &Connection) -> Vec<Vec<Stored>> {
        let mut rows = Vec::new();
        for (sql, columns) in [
            ("SELECT id,a,typeof(a),b,typeof(b),c,typeof(c),hex(c) FROM t ORDER BY id", 8),
            ("SELECT n,what,id,a,c FROM log ORDER BY n", 5),
            ("SELECT name,seq FROM sqlite_sequence ORDER BY name", 2),
            ("SELECT last_insert_rowid()", 1),
        ] {
            let mut statement = db.prepare(sql).unwrap();
            let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
            rows.extend(statement.query_map([], read).unwrap().map(Result::unwrap));
        }
        rows
    }

    fn run(statements: &[String], before: &str) -> (Vec<Vec<Stored>>, u64) {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch(before).unwrap();
        db.execute_batch(ROWS).unwrap();
        let mut changes = 0;
        for sql in statements {
            db.execute_batch(sql).unwrap();
            changes += db.changes();
        }
        (all(&db), changes)
    }

    fn cell() -> impl Strategy<Value = String> {
        prop_oneof![
            (-5..9i64).prop_map(|n| n.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            Just("NULL".to_owned()),
            "[a-c'\\\\\"é\n\u{1}{},]{0,4}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
            (-1e9..1e9f64).prop_map(|x| format!("{x:?}")),
            Just("1e20".to_owned()),
            Just("-0.0".to_owned()),
            Just("'7'".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn rows_that_are_cut_or_sent_ahead_do_the_same(
            rows in prop::collection::vec((prop::option::of(0..12i64), cell(), cell(), cell()), 1..30),
            head in prop::sample::select(&["INSERT OR IGNORE", "INSERT OR REPLACE", "REPLACE", "INSERT"][..]),
            tail in prop::sample::select(&["", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET c = excluded.c || t.c, a = excluded.a || id ON CONFLICT DO NOTHING"][..]),
            room in 0..700usize,
        ) {
            prop_assume!(head == "INSERT OR IGNORE" || !tail.is_empty() || head != "INSERT");
            let row = |(id, a, b, c): &(Option<i64>, String, String, String)| {
                format!("({},{a}, {b} ,{c})", id.map_or("NULL".into(), |id| id.to_string()))
            };
            let rows: Vec<_> = rows.iter().map(row).collect();
            let sql = format!("{head} INTO t (id, a, b, c) VALUES {}{tail}", rows.join(", "));
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch(SCHEMA).unwrap();
            db.execute_batch(ROWS).unwrap();
            // What fails on the primary is not sent.
            prop_assume!(db.execute_batch(&sql).is_ok());
            let whole = run(std::slice::from_ref(&sql), "");

            let many = ManyRows::find(&sql).unwrap();
            let (mut from, mut pieces) = (0, Vec::new());
            while from < many.len() {
                let count = many.fitting(from, room);
                assert!(many.size(from..from + count) <= room || count == 0);
                let end = from + count.max(1);
                pieces.push(many.part(from..end));
                from = end;
            }
            prop_assert_eq!(&run(&pieces, ""), &whole, "{:?}", pieces);

            let (sql, value) = JsonRows::new(&many, &[], usize::MAX).unwrap().finish(5);
            let LargeContent::Text(json) = &value.content else { panic!("no text") };
            let staged = format!(
                "INSERT INTO tmp_afterquery_value VALUES (5, '', 1, '{}')", json.replace('\'', "''")
            );
            prop_assert_eq!(run(std::slice::from_ref(&sql), &staged), whole, "{}", &sql);
        }
    }
}
