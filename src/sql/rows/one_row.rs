//! Finding the INSERTs that differ in their row alone, so that several can be sent as one statement.
//!
//! `INSERT INTO t (a) VALUES (1)` and `… VALUES (2)` do together what `INSERT INTO t (a) VALUES (1),(2)` does, as long as a
//! row is made of constants: SQLite inserts the rows one after another, with triggers, conflicts and keys as before. It
//! compiles one statement instead of two, which is most of what a small INSERT costs.

use crate::sql::text::{
    token::{Lexer, TokenKind},
    words::is,
};

/// Where the row of an INSERT with one row of constants begins, in bytes; its `)` is then the last byte of `sql`.
///
/// `None` for everything else. Among conflict clauses only REPLACE and ABORT pass: IGNORE would leave open which rows of
/// several were inserted, FAIL and ROLLBACK do not undo just the statement that fails.
pub fn row_start(sql: &str) -> Option<u16> {
    let mut reader = Reader { lexer: Lexer::new(sql) };
    reader.head(&["REPLACE", "ABORT"])?;
    let start = reader.open()?;
    let end = reader.constants()?;
    // A comment after it would swallow what is put there.
    (end == sql.len()).then(|| u16::try_from(start).ok()).flatten()
}

pub struct Reader<'a> {
    pub lexer: Lexer<'a>,
}

impl Reader<'_> {
    /// `INSERT [OR …] INTO [schema.]table [(columns)] VALUES`, with one of these conflict clauses.
    pub fn head(&mut self, conflicts: &[&str]) -> Option<()> {
        let mut verb = self.word()?;
        if is(verb, "INSERT") {
            verb = self.word()?;
            if is(verb, "OR") {
                let conflict = self.word()?;
                conflicts.iter().any(|known| is(conflict, known)).then_some(())?;
                verb = self.word()?;
            }
        } else if is(verb, "REPLACE") {
            verb = self.word()?;
        }
        is(verb, "INTO").then_some(())?;
        self.name()?;
        if self.peek() == TokenKind::Dot {
            self.lexer.next();
            self.name()?;
        }
        if self.peek() == TokenKind::Open {
            self.lexer.next();
            self.columns()?;
        }
        is(self.word()?, "VALUES").then_some(())
    }

    fn columns(&mut self) -> Option<()> {
        loop {
            self.name()?;
            match self.lexer.next().kind {
                TokenKind::Comma => {}
                TokenKind::Close => return Some(()),
                _ => return None,
            }
        }
    }

    pub fn open(&mut self) -> Option<usize> {
        let token = self.lexer.next();
        (token.kind == TokenKind::Open).then_some(token.start)
    }

    /// `constant, …)`, and where it ends.
    fn constants(&mut self) -> Option<usize> {
        loop {
            self.constant()?;
            let token = self.lexer.next();
            match token.kind {
                TokenKind::Comma => {}
                TokenKind::Close => return Some(token.end),
                _ => return None,
            }
        }
    }

    fn constant(&mut self) -> Option<()> {
        let mut token = self.lexer.next();
        if token.kind == TokenKind::Sign {
            token = self.lexer.next();
            return (token.kind == TokenKind::Number).then_some(());
        }
        match token.kind {
            TokenKind::Number | TokenKind::Text | TokenKind::Blob | TokenKind::Variable => Some(()),
            // Other words are columns, functions, or the clock.
            TokenKind::Word => is(self.lexer.slice(token), "NULL").then_some(()),
            _ => None,
        }
    }

    fn word(&mut self) -> Option<&[u8]> {
        let token = self.lexer.next();
        (token.kind == TokenKind::Word).then(|| self.lexer.slice(token))
    }

    fn name(&mut self) -> Option<()> {
        matches!(self.lexer.next().kind, TokenKind::Word | TokenKind::Quoted).then_some(())
    }

    fn peek(&self) -> TokenKind {
        let mut ahead = self.lexer;
        ahead.next().kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_constants_is_found() {
        for (sql, row) in [
            ("INSERT INTO t VALUES (1)", "(1)"),
            ("insert into t (a, \"b\", [c]) values (1, 'x''y', x'00')", "(1, 'x''y', x'00')"),
            ("INSERT OR REPLACE INTO main.t(a)VALUES(?,:b)", "(?,:b)"),
            ("REPLACE INTO `t` VALUES (-1, +2.5e3, NULL, .5)", "(-1, +2.5e3, NULL, .5)"),
            ("INSERT OR ABORT INTO t /* (a) */ VALUES (1)", "(1)"),
        ] {
            assert_eq!(row_start(sql).map(|at| &sql[usize::from(at)..]), Some(row), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for sql in [
            "",
            "INSERT",
            "INSERT INTO t DEFAULT VALUES",
            "INSERT INTO t SELECT 1",
            "INSERT INTO t VALUES (1), (2)",
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO t VALUES (1) RETURNING a",
            "INSERT INTO t VALUES (1) -- one",
            "INSERT INTO t VALUES (1) ",
            "INSERT INTO t VALUES (a)",
            "INSERT INTO t VALUES (\"a\")",
            "INSERT INTO t VALUES (CURRENT_TIMESTAMP)",
            "INSERT INTO t VALUES (random())",
            "INSERT INTO t VALUES (1 + 1)",
            "INSERT INTO t VALUES ((1))",
            "INSERT INTO t VALUES ((SELECT v FROM w WHERE id=1))",
            "INSERT INTO t VALUES ()",
            "INSERT INTO t AS x VALUES (1)",
            "INSERT OR IGNORE INTO t VALUES (1)",
            "INSERT OR FAIL INTO t VALUES (1)",
            "INSERT OR ROLLBACK INTO t VALUES (1)",
            "WITH c AS (SELECT 1) INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
        ] {
            assert_eq!(row_start(sql), None, "{sql}");
        }
    }
}
