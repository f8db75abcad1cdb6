//! The columns of CREATE TABLE … AS SELECT that take their names from the text of an expression.
//!
//! Whoever puts a literal into such an expression renames a column, unless the name is said beside it. How SQLite names
//! them: `sqlite3ColumnsFromExprList()` in <https://sqlite.org/src/file/src/select.c>.

use std::ops::Range;

use crate::sql::{
    meaning::classification::{Kind, Statement},
    text::{
        bytes::is_space,
        token::{Lexer, Token, TokenKind},
        words::{RESERVED, is},
    },
};

/// A column whose name is the text of its expression.
#[derive(Debug, PartialEq, Eq)]
pub struct TextNamed {
    /// The expression, in the text of all statements.
    pub span: Range<usize>,
    /// What says the name, to be put behind the expression.
    pub alias: String,
}

/// Those of a statement; none for any other than CREATE TABLE … AS SELECT.
pub fn text_named(sql: &str, statement: &Statement) -> Vec<TextNamed> {
    if statement.kind != Kind::Ddl || statement.verb != "CREATE" {
        return Vec::new();
    }
    let mut reader = Reader { sql, lexer: Lexer::new(&sql[..statement.span.end]), depth: 0 };
    reader.lexer.go_to(statement.span.start);
    if !reader.go_to_select() {
        return Vec::new();
    }
    reader.columns()
}

struct Reader<'a> {
    sql: &'a str,
    lexer: Lexer<'a>,
    depth: u32,
}

impl Reader<'_> {
    fn is(&self, token: Token, word: &str) -> bool {
        token.kind == TokenKind::Word && is(self.lexer.slice(token), word)
    }

    /// The next token, with the depth of parentheses kept.
    fn next(&mut self) -> Token {
        let token = self.lexer.next();
        match token.kind {
            TokenKind::Open => self.depth += 1,
            TokenKind::Close => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        token
    }

    /// Goes behind `TABLE … AS [WITH …] SELECT`; false where there is none.
    fn go_to_select(&mut self) -> bool {
        let (mut is_table, mut is_query) = (false, false);
        loop {
            let token = self.next();
            if token.is_stop() || self.is(token, "VIEW") || self.is(token, "TRIGGER") {
                return false;
            }
            is_table |= self.is(token, "TABLE");
            is_query |= is_table && self.depth == 0 && self.is(token, "AS");
            if is_query && self.depth == 0 && self.is(token, "SELECT") {
                return true;
            }
        }
    }

    /// The columns up to the end of the list.
    fn columns(mut self) -> Vec<TextNamed> {
        let (mut found, mut column) = (Vec::new(), Vec::new());
        loop {
            let token = self.next();
            let after_distinct = column.last().is_some_and(|last| self.is(*last, "DISTINCT"));
            let ends = self.depth == 0
                && token.kind != TokenKind::Close
                && (token.kind == TokenKind::Comma
                    || token.is_stop()
                    || (!after_distinct && ENDS.iter().any(|word| self.is(token, word))));
            let opens = column.is_empty() && (self.is(token, "DISTINCT") || self.is(token, "ALL"));
            if ends {
                found.extend(self.text_named(&column, token));
                column.clear();
            } else if !opens {
                column.push(token);
            }
            if ends && token.kind != TokenKind::Comma {
                return found;
            }
        }
    }

    /// The column of these tokens, if it certainly has no name of its own; `next` comes behind it.
    fn text_named(&self, tokens: &[Token], next: Token) -> Option<TextNamed> {
        let (first, last) = (tokens.first()?, tokens.last()?);
        let count = |word| tokens.iter().filter(|token| self.is(**token, word)).count();
        let is_alias = self.is(*last, "END") && count("END") > count("CASE");
        let before = tokens.len().checked_sub(2).and_then(|at| tokens.get(at));
        if is_alias || before.is_some_and(|before| !self.ends_an_expression(*before, *last)) {
            return None;
        }
        let end = if next.is_stop() { last.end } else { next.start };
        let name =
            self.sql.get(first.start..end)?.trim_end_matches(|c: char| c.is_ascii() && is_space(c as u8));
        let alias = format!(" AS \"{}\"", name.replace('"', "\"\""));
        Some(TextNamed { span: first.start..last.end, alias })
    }

    /// Whether `last`, behind `before`, cannot be a name that is given to what comes before it.
    fn ends_an_expression(&self, before: Token, last: Token) -> bool {
        match last.kind {
            TokenKind::Close | TokenKind::Number | TokenKind::Blob | TokenKind::Variable => true,
            TokenKind::Word if VALUES.iter().any(|word| self.is(last, word)) => !self.is(before, "AS"),
            TokenKind::Word | TokenKind::Quoted | TokenKind::Text => match before.kind {
                TokenKind::Operator | TokenKind::Sign | TokenKind::Dot => true,
                TokenKind::Word => {
                    let is_value = VALUES.iter().any(|word| self.is(before, word));
                    !is_value && !self.is(before, "AS") && RESERVED.contains(self.lexer.slice(before))
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// What ends the list, outside of parentheses.
const ENDS: [&str; 9] =
    ["FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "INTERSECT", "EXCEPT"];

/// Reserved words that end an expression.
const VALUES: [&str; 7] =
    ["END", "NULL", "ISNULL", "NOTNULL", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"];

#[cfg(test)]
mod tests {
    use super::super::freeze::{FreezeContext, freeze};
    use super::*;
    use crate::sql::{
        meaning::classify::classify,
        plan::template::{Hole, Parameters, Template},
        text::literal::Value,
    };

    struct Clock;

    impl FreezeContext for Clock {
        fn unix_milliseconds(&self) -> i64 {
            1_700_000_000_000
        }

        fn utc_offset_seconds(&self, _: i64) -> Option<i32> {
            Some(0)
        }

        fn random(&mut self) -> u64 {
            7
        }
    }

    struct Fives;

    impl Parameters for Fives {
        fn bind(&self, _: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
            take(Value::Integer(5));
            Ok(())
        }
    }

    const COLUMNS: &[&str] = &[
        "?",
        "?, ?",
        " ? /* a, comment */ , a",
        "a + ?",
        "- ? , +?",
        "? AS x",
        "? x",
        "? 'x'",
        "? [x y]",
        "? AS 'x'",
        "a, ?||a, ? || 'k'",
        "coalesce(?, 1), max(?, 2) m",
        "CASE WHEN a THEN ? ELSE ? END",
        "CASE ? WHEN 1 THEN 2 END x",
        "CASE WHEN a THEN ? END end_of_it",
        "? IS NULL, ? ISNULL, NOT ?, ? NOTNULL",
        "? IS DISTINCT FROM a",
        "? IS NOT DISTINCT FROM 2 x",
        "a = ? COLLATE nocase",
        "a LIKE ? ESCAPE '!'",
        "a IN (?, 2), a BETWEEN ? AND 7",
        "CAST(? AS TEXT)",
        "(SELECT ? FROM t LIMIT 1), (SELECT max(a) AS m FROM t WHERE a > ?)",
        "\"a\" || ?, t.a + ?, ?+t.\"a\"",
        "count(*) OVER (ORDER BY a) + ?",
        "sum(a) FILTER (WHERE a > ?)",
        "DISTINCT ?, a",
        "ALL ?",
        "? -- to the end\n, a",
        "CURRENT_DATE",
        "CURRENT_DATE || ?, CURRENT_TIME 'x', CURRENT_TIMESTAMP t",
        "date('now'), datetime('now', '+1 day') AS d, time() || ?",
        "a IS CURRENT_DATE, NULL IS ?",
        "a AS end, ? AS 'as'",
        "? end, CASE a WHEN ? THEN 1 END, CASE ? WHEN 1 THEN 2 END end",
        "'?', ?",
    ];

    /// The schema that a text makes, and whether it could be run.
    fn made(sql: &str, bound: bool) -> rusqlite::Result<String> {
        let db = rusqlite::Connection::open_in_memory()?;
        db.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")?;
        let mut statement = db.prepare(sql)?;
        if bound {
            for at in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(at, 5)?;
            }
        }
        statement.raw_execute()?;
        db.query_row("SELECT sql FROM sqlite_schema WHERE name = 'made'", [], |row| row.get(0))
    }

    #[test]
    fn columns_keep_the_names_that_sqlite_takes_from_the_text() {
        for columns in COLUMNS {
            for form in [
                "CREATE TABLE made AS SELECT {} FROM t",
                "CREATE TABLE IF NOT EXISTS main.made AS WITH w AS (SELECT 1 AS a) SELECT {} FROM w AS t ORDER BY 1",
                "CREATE TABLE made AS SELECT {} FROM t UNION ALL SELECT {} FROM t",
            ] {
                let sql = form.replace("{}", columns);
                let Ok(expected) = made(&sql, true) else { continue };
                let frozen =
                    freeze(&sql, &classify(&sql), |_, _| None, &mut Clock).sql.unwrap_or(sql.clone());
                assert_eq!(made(&frozen, true).as_ref(), Ok(&expected), "{sql}\n{frozen}");
                let template = Template::new(&frozen, &classify(&frozen).statements[0]);
                let sent = template.render(&Fives, 100).unwrap().sql;
                assert_eq!(made(&sent, false).as_ref(), Ok(&expected), "{sql}\n{sent}");
            }
        }
    }

    #[test]
    fn most_columns_of_the_table_above_are_really_tried() {
        let tried = COLUMNS
            .iter()
            .filter(|columns| made(&format!("CREATE TABLE made AS SELECT {columns} FROM t"), true).is_ok());
        assert!(tried.count() > COLUMNS.len() - 3);
    }

    #[test]
    fn other_statements_have_none() {
        for sql in [
            "CREATE TABLE made (a DEFAULT (1 + 2))",
            "CREATE VIEW v AS SELECT 1 + 2",
            "CREATE TRIGGER made AFTER INSERT ON t BEGIN SELECT 1 + 2; END",
            "INSERT INTO t SELECT 1 + ? FROM t",
            "CREATE TABLE made AS VALUES (?)",
            "CREATE INDEX i ON t (a + 1)",
        ] {
            assert_eq!(text_named(sql, &classify(sql).statements[0]), [], "{sql}");
        }
    }
}
