//! `CURRENT_DATE` and its like where they are names. SQLite takes such a word for the clock where an expression can begin,
//! and else for a name (`%fallback` in <https://sqlite.org/src/file/src/parse.y>): a column may be called so.

use std::ops::Range;

use crate::sql::text::{
    token::{Lexer, Token, TokenKind},
    words::{RESERVED, is},
};

/// Words that are no keywords in every place, and after which an expression begins.
const BEFORE_AN_EXPRESSION: [&str; 6] = ["BY", "LIKE", "GLOB", "REGEXP", "MATCH", "OFFSET"];

/// Keywords after which a name stands.
const BEFORE_A_NAME: [&str; 10] =
    ["AS", "SET", "FROM", "JOIN", "INTO", "UPDATE", "TABLE", "COLLATE", "INDEX", "TO"];

/// Where in the statement at `span` a clock keyword is a name: the offsets of such words in `sql`, in ascending order.
pub(crate) fn clock_names(sql: &str, span: Range<usize>) -> Vec<usize> {
    let start = span.start;
    let Some(text) = sql.get(span) else { return Vec::new() };
    let mut lexer = Lexer::new(text);
    let mut reader = Reader::default();
    let mut names = Vec::new();
    loop {
        let token = lexer.next();
        if token.kind == TokenKind::End {
            return names;
        }
        let word = lexer.slice(token);
        if token.kind == TokenKind::Word && is_clock(word) && reader.is_at_name() {
            names.push(start + token.start);
        }
        reader.pass(token, word);
    }
}

/// Whether a word is one of the three.
pub(crate) fn is_clock(word: &[u8]) -> bool {
    is(word, "CURRENT_TIMESTAMP") || is(word, "CURRENT_DATE") || is(word, "CURRENT_TIME")
}

/// A list of names and not of expressions.
#[derive(Clone, Copy, PartialEq)]
enum List {
    None,
    /// Behind INTO and the table: a `(` begins the columns.
    Target,
    /// Behind SET, at this depth: each comma there is followed by what is set.
    Set(u32),
}

/// What comes before a word.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Something after which an expression begins.
    Operator,
    /// An operand: no other one can follow.
    Operand,
    /// Something after which a name stands.
    Name,
}

struct Reader {
    depth: u32,
    list: List,
    before: Before,
    /// How deep the parentheses are that hold nothing but names, if any.
    names: Option<u32>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { depth: 0, list: List::None, before: Before::Operator, names: None }
    }
}

impl Reader {
    fn is_at_name(&self) -> bool {
        self.names.is_some() || self.before != Before::Operator
    }

    fn pass(&mut self, token: Token, word: &[u8]) {
        self.before = match token.kind {
            TokenKind::Word if self.is_at_name() && is_clock(word) => Before::Operand,
            TokenKind::Word => self.pass_word(word),
            TokenKind::Quoted
            | TokenKind::Text
            | TokenKind::Blob
            | TokenKind::Number
            | TokenKind::Variable => Before::Operand,
            TokenKind::Dot => Before::Name,
            TokenKind::Open => self.open(),
            TokenKind::Close => self.close(),
            TokenKind::Comma if self.list == List::Set(self.depth) => Before::Name,
            _ => Before::Operator,
        };
    }

    fn pass_word(&mut self, word: &[u8]) -> Before {
        if is(word, "INTO") {
            self.list = List::Target;
        } else if is(word, "SET") {
            self.list = List::Set(self.depth);
        } else if is(word, "USING") {
            // The columns of a join.
            self.list = List::Target;
        } else if self.ends_list(word) {
            self.list = List::None;
        }
        match () {
            () if BEFORE_A_NAME.iter().any(|before| is(word, before)) => Before::Name,
            () if BEFORE_AN_EXPRESSION.iter().any(|before| is(word, before)) => Before::Operator,
            () if is(word, "NULL") || is(word, "ISNULL") || is(word, "NOTNULL") => Before::Operand,
            () if RESERVED.contains(word) => Before::Operator,
            () => Before::Operand,
        }
    }

    fn ends_list(&self, word: &[u8]) -> bool {
        let among = |words: &[&str]| words.iter().any(|end| is(word, end));
        match self.list {
            List::None => false,
            List::Target => among(&["VALUES", "SELECT", "DEFAULT", "WITH"]),
            // Words in parentheses are of an expression in the list.
            List::Set(depth) => {
                depth == self.depth && among(&["WHERE", "FROM", "ORDER", "LIMIT", "RETURNING"])
            }
        }
    }

    fn open(&mut self) -> Before {
        let names = match self.list {
            List::Target => true,
            List::Set(depth) => depth == self.depth && self.before == Before::Name,
            List::None => false,
        };
        self.depth += 1;
        if names {
            self.names = Some(self.depth);
        }
        if self.list == List::Target {
            self.list = List::None;
        }
        Before::Operator
    }

    fn close(&mut self) -> Before {
        if self.names == Some(self.depth) {
            self.names = None;
        }
        self.depth = self.depth.saturating_sub(1);
        Before::Operand
    }
}

#[cfg(test)]
mod tests {
    use super::clock_names;

    /// The words that are names, by what stands directly behind them.
    fn count(sql: &str) -> usize {
        clock_names(sql, 0..sql.len()).len()
    }

    #[test]
    fn names_are_told_from_the_clock() {
        let cases = [
            ("INSERT INTO t (current_date, current_time) VALUES (current_date, current_time)", 2),
            ("INSERT INTO t AS current_time (a, current_date) SELECT current_date, 1", 2),
            (
                "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 1, current_date = excluded.current_date",
                2,
            ),
            (
                "UPDATE t SET current_date = current_date, current_time = CURRENT_TIME WHERE b = current_date",
                2,
            ),
            ("UPDATE t SET (a, current_date) = (1, current_date), current_time = (2) + current_time", 2),
            ("UPDATE t SET a = CASE WHEN b THEN current_date END, current_time = 1", 1),
            ("UPDATE t SET a = (SELECT current_date FROM u, v WHERE x = 1, current_date)", 0),
            ("UPDATE t SET a = max(b, current_date)", 0),
            ("UPDATE t SET a = 1 WHERE b LIKE current_date OR c BETWEEN current_date AND current_date", 0),
            ("INSERT INTO t SELECT 1 current_date, b AS current_time, c FROM u ORDER BY current_date", 2),
            ("INSERT INTO t SELECT 1 FROM u JOIN v USING (current_date) WHERE current_date > 1", 1),
            ("INSERT INTO t VALUES (1, CURRENT_TIMESTAMP), (2, CURRENT_TIMESTAMP)", 0),
            ("INSERT INTO t (a) VALUES (1) RETURNING current_date", 0),
            ("DELETE FROM t WHERE a = 1 AND current_date = b LIMIT 1 OFFSET current_date", 0),
            ("DELETE FROM t WHERE a = t.current_date COLLATE current_time", 2),
        ];
        for (sql, names) in cases {
            assert_eq!(count(sql), names, "{sql}");
        }
    }
}
