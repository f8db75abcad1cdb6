//! Finding the rows of an INSERT of constants, so that it can be sent as several.
//!
//! SQLite inserts the rows of `INSERT … VALUES (…),(…)` one after another, each with its triggers, conflicts and keys. So
//! two INSERTs of half the rows each do the same, as long as no row and no clause looks at what the rows before it did: no
//! subquery, no column, no counter of the connection. What does differ is told by the replica: a foreign key that is not
//! deferred is checked at the end of each statement, and a row may point to one that is inserted only later.

use std::ops::Range;

use super::{
    one_row::Reader,
    template::reference_at,
    token::{Lexer, TokenKind},
    words::is,
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
