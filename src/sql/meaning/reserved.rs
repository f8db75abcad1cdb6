//! The names of afterquery's own tables. They are reserved: a statement that names one is never replicated, because what it
//! does to the watermark or the outbox of another database would make replicas diverge, and outcomes untrue.

use std::ops::Range;

use crate::sql::text::{
    names::unquoted,
    token::{Lexer, Token, TokenKind},
    words::is,
};

/// What they begin with: on a replica `tmp_afterquery_watermark` and `tmp_afterquery_value`, on a primary the outbox.
const PREFIXES: [&str; 2] = ["tmp_afterquery_", "afterquery_"];

/// What both have in common, from the byte that is looked for: `q` is the rarest letter.
const COMMON: &[u8] = b"afterquery_";
const RARE: usize = 5;

/// After these words a text in `'…'` is a name to SQLite.
const BEFORE_A_NAME: [&str; 11] =
    ["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "VIEW", "INDEX", "TRIGGER", "ON", "TO", "EXISTS"];

/// After these words a list of tables is over.
const AFTER_TABLES: [&str; 10] =
    ["WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "SET", "SELECT", "VALUES", "UNION", "RETURNING"];

/// Whether the statement at `span` of `sql` names a table, or anything else, as afterquery does. A value that says the same,
/// `'tmp_afterquery_value'`, is none.
pub(crate) fn names_ours(sql: &str, span: Range<usize>) -> bool {
    let Some(text) = sql.get(span) else { return false };
    if !may_name(text.as_bytes()) {
        return false;
    }
    let mut lexer = Lexer::new(text);
    let mut tables = Tables::default();
    loop {
        let token = lexer.next();
        let stands_for_name = match token.kind {
            TokenKind::End => return false,
            TokenKind::Word | TokenKind::Quoted => true,
            TokenKind::Text => tables.come_next(),
            _ => false,
        };
        if stands_for_name && is_ours(&unquoted(&text[token.start..token.end])) {
            return true;
        }
        tables.pass(token, lexer.slice(token));
    }
}

/// Whether this is a name of ours.
fn is_ours(name: &str) -> bool {
    PREFIXES
        .iter()
        .any(|prefix| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
}

/// A quick look that nearly every text ends with.
fn may_name(text: &[u8]) -> bool {
    memchr::memchr2_iter(b'q', b'Q', text).any(|at| {
        let start = at.checked_sub(RARE);
        let found = start.and_then(|start| text.get(start..start + COMMON.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(COMMON))
    })
}

/// Where in a statement a table's name may stand.
#[derive(Default)]
struct Tables {
    depth: u32,
    /// How deep the lists of tables stand that are being read, the innermost last.
    lists: Vec<u32>,
    next: bool,
}

impl Tables {
    fn come_next(&self) -> bool {
        self.next
    }

    fn pass(&mut self, token: Token, text: &[u8]) {
        self.next = match token.kind {
            TokenKind::Dot => true,
            TokenKind::Comma => self.lists.last() == Some(&self.depth),
            TokenKind::Open => {
                self.depth += 1;
                // `FROM ('a', 'b')`
                if self.next {
                    self.lists.push(self.depth);
                }
                self.next
            }
            TokenKind::Close => {
                self.depth = self.depth.saturating_sub(1);
                self.lists.retain(|list| *list <= self.depth);
                false
            }
            TokenKind::Word => self.pass_word(text),
            _ => false,
        };
    }

    fn pass_word(&mut self, word: &[u8]) -> bool {
        if is(word, "FROM") {
            self.lists.push(self.depth);
        } else if AFTER_TABLES.iter().any(|after| is(word, after)) {
            self.lists.retain(|list| *list < self.depth);
        }
        BEFORE_A_NAME.iter().any(|before| is(word, before))
    }
}

#[cfg(test)]
mod tests {
    use super::names_ours;

    fn names(sql: &str) -> bool {
        names_ours(sql, 0..sql.len())
    }

    #[test]
    fn our_names_are_found_wherever_a_name_can_stand() {
        for sql in [
            "UPDATE tmp_afterquery_watermark SET seq = 1",
            "delete from TMP_AfterQuery_Value",
            "DELETE FROM \"tmp_afterquery_value\"",
            "DELETE FROM main . [tmp_afterquery_value]",
            "DELETE FROM 'tmp_afterquery_value'",
            "DELETE FROM main.'tmp_afterquery_value'",
            "INSERT INTO t SELECT v FROM tmp_afterquery_value",
            "INSERT INTO t SELECT 1 FROM a, 'tmp_afterquery_value'",
            "INSERT INTO t SELECT 1 FROM (a, 'tmp_afterquery_value')",
            "INSERT INTO t SELECT 1 FROM a JOIN'tmp_afterquery_value'",
            "UPDATE t SET a = (SELECT 1 FROM b, 'afterquery_relay' WHERE c)",
            "CREATE VIEW v AS SELECT * FROM `afterquery_outbox`",
            "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM afterquery_relay; END",
            "CREATE TRIGGER x AFTER UPDATE ON 'tmp_afterquery_watermark' BEGIN SELECT 1; END",
            "CREATE INDEX i ON tmp_afterquery_watermark (seq)",
            "ALTER TABLE t RENAME TO 'afterquery_outbox'",
            "DROP TABLE IF EXISTS 'afterquery_outbox'",
            "DROP TRIGGER afterquery_outbox_write",
        ] {
            assert!(names(sql), "{sql}");
        }
    }

    #[test]
    fn other_names_and_values_are_not() {
        for sql in [
            "INSERT INTO notes VALUES ('tmp_afterquery_watermark')",
            "INSERT INTO notes VALUES (1, 'afterquery_outbox')",
            "UPDATE t SET a = 'afterquery_outbox', b = 'tmp_afterquery_value' WHERE c = 'afterquery_relay'",
            "INSERT INTO t SELECT 'afterquery_relay', 'afterquery_relay' FROM a WHERE b IN ('x', 'afterquery_relay')",
            "DELETE FROM t WHERE a IN (SELECT b FROM c WHERE d IN (1, 'afterquery_relay'))",
            "DELETE FROM my_afterquery_outbox",
            "DELETE FROM afterquery",
            "DELETE FROM t -- afterquery_relay",
            "DELETE FROM t /* tmp_afterquery_value */ WHERE a = :afterquery_a",
            "DELETE FROM q WHERE Q = 'q'",
            "q",
        ] {
            assert!(!names(sql), "{sql}");
        }
    }
}
