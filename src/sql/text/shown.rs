//! What must not be shown: the values in a text. A log shows texts without them, and what a replica says of a text too.

use std::collections::HashSet;

use super::token::{Lexer, Token, TokenKind};
use crate::ground::quoted::one_line;

/// What stands where a value was.
const HIDDEN: &str = "?";

/// A value shorter than this is only looked for between quotes: elsewhere it would be a part of many words.
const SHORT: usize = 3;

/// By how many bytes of its beginning a value is found that was cut in what quotes it.
const HEAD: usize = 24;

/// How much of a text is shown, in bytes.
pub const SHOWN_BYTES: usize = 120;

/// A text as a log shows it: its beginning, on one line, without its values.
pub fn shown(sql: &str) -> String {
    one_line(&without_values(sql, SHOWN_BYTES), SHOWN_BYTES)
}

/// The beginning of `sql`, up to about `max` bytes, with `?` for each value and without comments.
fn without_values(sql: &str, max: usize) -> String {
    let mut shown = String::new();
    let mut end = 0;
    for (token, is_value) in Values::new(sql) {
        if shown.len() > max {
            break;
        }
        if token.start > end && !shown.is_empty() {
            shown.push(' ');
        }
        end = token.end;
        shown.push_str(if is_value { HIDDEN } else { sql.get(token.start..token.end).unwrap_or(HIDDEN) });
    }
    shown
}

/// `told` with `?` wherever it repeats a value of `sql`.
pub fn hide_values(told: &str, sql: &str) -> String {
    let mut told = told.to_owned();
    let (mut values, mut names) = (HashSet::new(), HashSet::new());
    for (token, is_value) in Values::new(sql) {
        let text = sql.get(token.start..token.end).unwrap_or_default();
        if !is_value {
            names.insert(text);
            continue;
        }
        let inner = text.trim_start_matches(['x', 'X']).trim_matches(['\'', '"']);
        values.insert(inner.to_owned());
        if inner.contains("''") || inner.contains("\"\"") {
            values.insert(inner.replace("''", "'").replace("\"\"", "\""));
        }
    }
    let mut values: Vec<_> = values.into_iter().filter(|value| !names.contains(value.as_str())).collect();
    // The longest first: one may be a part of another.
    values.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
    values.iter().for_each(|value| hide(&mut told, value));
    told
}

fn hide(told: &mut String, value: &str) {
    let head = &value[..boundary(value, HEAD)];
    if head.is_empty() {
        return;
    }
    let mut from = 0;
    while let Some(found) = told[from..].find(head) {
        let start = from + found;
        let same = told[start..].bytes().zip(value.bytes()).take_while(|(a, b)| a == b).count();
        let end = boundary(told, start + same);
        from = end;
        if stands_alone(told, start, end, value.len()) {
            told.replace_range(start..end, HIDDEN);
            from = start + HIDDEN.len();
        }
    }
}

/// The last place up to `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Whether what is found is a word of its own, or, if it is short, in quotes.
#[expect(clippy::disallowed_methods, reason = "what a replica says is no SQL")]
fn stands_alone(told: &str, start: usize, end: usize, length: usize) -> bool {
    let (before, after) = (told[..start].chars().next_back(), told[end..].chars().next());
    let quote = |c: Option<char>| matches!(c, Some('"' | '\'' | '`'));
    let free = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match length {
        0..SHORT => quote(before) && quote(after),
        SHORT..HEAD => free(before) && free(after),
        _ => true,
    }
}

/// The tokens of a text, each with whether it is a value.
struct Values<'a> {
    lexer: Lexer<'a>,
    before: Option<Token>,
}

impl<'a> Values<'a> {
    fn new(sql: &'a str) -> Self {
        Self { lexer: Lexer::new(sql), before: None }
    }

    /// SQLite takes a text in `"…"` for a value where no such name is known. It is a name where only a name can stand.
    fn names(&self, token: Token) -> bool {
        const BEFORE_NAMES: [&[u8]; 10] =
            [b"INTO", b"FROM", b"UPDATE", b"TABLE", b"JOIN", b"INDEX", b"TRIGGER", b"VIEW", b"EXISTS", b"ON"];
        let is_name = |before: Token| {
            let word = self.lexer.slice(before).to_ascii_uppercase();
            before.kind == TokenKind::Dot || BEFORE_NAMES.contains(&word.as_slice())
        };
        !matches!(self.lexer.at(token.start), b'"') || self.before.is_some_and(is_name) || {
            let mut after = self.lexer;
            after.next().kind == TokenKind::Dot
        }
    }
}

impl Iterator for Values<'_> {
    type Item = (Token, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let token = self.lexer.next();
        if token.kind == TokenKind::End {
            return None;
        }
        let is_value = match token.kind {
            TokenKind::Text | TokenKind::Blob | TokenKind::Number | TokenKind::Illegal => true,
            TokenKind::Quoted => !self.names(token),
            _ => false,
        };
        self.before = Some(token);
        Some((token, is_value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_shown_without_its_values() {
        for (sql, shown) in [
            (
                "UPDATE users SET pw = 'hunter2', n=-5.5e3 WHERE id=1",
                "UPDATE users SET pw = ?, n=-? WHERE id=?",
            ),
            (
                "INSERT INTO \"a\" (\"b\") VALUES ('it''s', x'00ff', NULL)",
                "INSERT INTO \"a\" (?) VALUES (?, ?, NULL)",
            ),
            ("DELETE FROM t -- secret\n WHERE a = \"secret\" /* secret */", "DELETE FROM t WHERE a = ?"),
            ("UPDATE \"s\".\"t\" SET `a` = [b], c = :name", "UPDATE \"s\".\"t\" SET `a` = [b], c = :name"),
            ("UPDATE t SET a = 'open secret", "UPDATE t SET a = ?"),
            ("SELECT 1\0secret", "SELECT ?"),
            ("", ""),
        ] {
            assert_eq!(without_values(sql, 1_000), shown, "{sql}");
        }
        assert!(without_values(&"a,".repeat(100_000), 100).len() < 200);
    }

    #[test]
    fn what_is_told_of_a_text_repeats_no_value_of_it() {
        for (told, sql, shown) in [
            ("near \"hunter2\": syntax error", "UPDATE t SET a = 'x' 'hunter2'", "near \"?\": syntax error"),
            ("unrecognized token: \"'open sec\"", "UPDATE t SET a = 'open sec", "unrecognized token: \"'?\""),
            ("no such table: users", "INSERT INTO users VALUES ('users', 'no')", "no such table: users"),
            ("near \"5\": HTTP 500 at 5", "SELECT 5 5", "near \"?\": HTTP 500 at 5"),
            ("it's gone: it's", "SELECT 'it''s'", "? gone: ?"),
            ("UNIQUE constraint failed: t.a", "INSERT INTO t VALUES ('a')", "UNIQUE constraint failed: t.a"),
        ] {
            assert_eq!(hide_values(told, sql), shown, "{told}");
        }
        let long = "s".repeat(5_000);
        let told = format!("near {}", &long[..100]);
        assert_eq!(hide_values(&told, &format!("SELECT '{long}'")), "near ?");
    }

    proptest! {
        #[test]
        fn any_texts_are_taken(told in any::<String>(), sql in any::<String>(), max in 0..200usize) {
            hide_values(&told, &sql);
            without_values(&sql, max);
        }

        #[test]
        fn no_value_is_left(value in "[a-z0-9]{6,40}", before in "[ a-z'\"]{0,9}") {
            let sql = format!("INSERT INTO t VALUES ('{value}')");
            prop_assert!(!without_values(&sql, 1_000).contains(&value));
            let told = format!("{before}\"{value}\": '{value}'");
            prop_assert!(!hide_values(&told, &sql).contains(&value));
        }
    }
}
