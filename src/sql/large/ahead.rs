//! Taking values out of a text, so that they can be sent ahead of it, and putting them back.

use std::ops::Range;

use super::content::{LargeContent, LargeValue, new_id, push_reference, references};
use crate::sql::text::{
    literal::{literal_len, push_literal},
    token::{Lexer, Token, TokenKind},
    words::is,
};

/// A shorter literal stays where it is: what would stand for it, here and in the head, is hardly shorter.
const SHORT_LITERAL_BYTES: usize = 200;

/// From how many bytes on a list behind IN is sent ahead as one value.
const SHORT_LIST_BYTES: usize = 1_000;

/// What behind IN takes the place of a list. `+` takes away the affinity that a column has, as in a list no value has one.
const LIST: (&str, &str) = ("(SELECT +value FROM json_each(", "))");

/// `sql` with its longest values set apart until it takes at most `room` bytes, where each value set apart costs `each`
/// bytes elsewhere. `None` where that is not enough, and for what is no INSERT, REPLACE, UPDATE, DELETE or WITH: no other
/// statement can name a value that is in a table.
pub fn set_apart(sql: &str, room: usize, each: usize) -> Option<(String, Vec<LargeValue>)> {
    let mut found = candidates(sql)?;
    found.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.span.len()));
    let mut size = sql.len();
    let mut enough = 0;
    for candidate in &found {
        if size <= room {
            break;
        }
        size = size + candidate.cost() + each - candidate.span.len();
        enough += 1;
    }
    found.truncate(enough);
    found.sort_unstable_by_key(|candidate| candidate.span.start);
    (size <= room).then(|| replace(sql, found))
}

/// The same with all that may be set apart.
pub fn set_apart_all(sql: &str) -> Option<(String, Vec<LargeValue>)> {
    candidates(sql).map(|found| replace(sql, found))
}

/// A piece of a text that may be set apart.
struct Candidate {
    span: Range<usize>,
    content: LargeContent,
    is_list: bool,
}

impl Candidate {
    /// The most bytes of what stands for it.
    fn cost(&self) -> usize {
        let mut reference = String::new();
        push_reference(&mut reference, 1 << 53);
        reference.len() + if self.is_list { LIST.0.len() + LIST.1.len() } else { 0 }
    }
}

fn candidates(sql: &str) -> Option<Vec<Candidate>> {
    let mut lexer = Lexer::new(sql);
    let mut found = Vec::new();
    let mut before = lexer.next();
    let verb = lexer.slice(before);
    ["INSERT", "REPLACE", "UPDATE", "DELETE", "WITH"].iter().any(|known| is(verb, known)).then_some(())?;
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => return Some(found),
            TokenKind::Open if before.kind == TokenKind::Word && is(lexer.slice(before), "IN") => {
                let start = lexer;
                match list(sql, token, &mut lexer) {
                    Some(list) if list.span.len() > SHORT_LIST_BYTES => found.push(list),
                    _ => lexer = start,
                }
            }
            TokenKind::Text | TokenKind::Blob if token.end - token.start > SHORT_LITERAL_BYTES => {
                let content = content(sql, token)?;
                found.push(Candidate { span: token.start..token.end, content, is_list: false });
            }
            _ => {}
        }
        before = token;
    }
}

/// The value of a text or blob literal.
fn content(sql: &str, token: Token) -> Option<LargeContent> {
    let text = sql.get(token.start..token.end)?;
    if token.kind == TokenKind::Text {
        let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
        return Some(LargeContent::Text(inner.replace("''", "'").into()));
    }
    let digits = text.get(2..text.len() - 1)?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8);
    Some(LargeContent::Blob(digits.chunks(2).map(byte).collect::<Option<Vec<_>>>()?.into()))
}

/// A list of integers, texts and NULL behind IN, as JSON. Neither floats nor blobs: JSON does not say them exactly.
fn list(sql: &str, open: Token, lexer: &mut Lexer<'_>) -> Option<Candidate> {
    let mut json = String::from("[");
    loop {
        let mut token = lexer.next();
        if token.kind == TokenKind::Sign && lexer.slice(token) == b"-" {
            json.push('-');
            token = lexer.next();
            (token.kind == TokenKind::Number).then_some(())?;
        }
        match token.kind {
            TokenKind::Number => json.push_str(&integer(sql.get(token.start..token.end)?)?.to_string()),
            TokenKind::Text => match content(sql, token)? {
                LargeContent::Text(text) => json.push_str(&serde_json::to_string(&*text).ok()?),
                LargeContent::Blob(_) => return None,
            },
            TokenKind::Word if is(lexer.slice(token), "NULL") => json.push_str("null"),
            _ => return None,
        }
        let next = lexer.next();
        match next.kind {
            TokenKind::Comma => json.push(','),
            TokenKind::Close => {
                json.push(']');
                let content = LargeContent::Text(json.into());
                return Some(Candidate { span: open.start..next.end, content, is_list: true });
            }
            _ => return None,
        }
    }
}

/// An integer literal that is one for SQLite and in JSON, too.
fn integer(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn replace(sql: &str, found: Vec<Candidate>) -> (String, Vec<LargeValue>) {
    let (mut text, mut large, mut from) = (String::new(), Vec::new(), 0);
    for Candidate { span, content, is_list } in found {
        let id = new_id();
        text.push_str(sql.get(from..span.start).unwrap_or_default());
        if is_list {
            text.push_str(LIST.0);
            push_reference(&mut text, id);
            text.push_str(LIST.1);
        } else {
            push_reference(&mut text, id);
        }
        large.push(LargeValue { id, content });
        from = span.end;
    }
    text.push_str(sql.get(from..).unwrap_or_default());
    (text, large)
}

/// `sql` with these values in it as literals, if that takes at most `room` bytes.
pub fn inlined(sql: &str, large: &[LargeValue], room: usize) -> Option<String> {
    let size = large.iter().map(|value| literal_len(value.content.value())).sum::<usize>() + sql.len();
    (size <= room).then_some(())?;
    let (mut text, mut from) = (String::with_capacity(size), 0);
    for reference in references(sql) {
        // Another than ours stays as it is.
        let Some(found) = large.iter().find(|value| value.id == reference.id) else { continue };
        text.push_str(sql.get(from..reference.start)?);
        push_literal(&mut text, found.content.value());
        from = reference.end;
    }
    text.push_str(sql.get(from..)?);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rusqlite::Connection;

    #[test]
    fn the_longest_go_first_and_come_back() {
        let long = format!("it''s {}", "é".repeat(400));
        let sql = format!("UPDATE t SET a = '{long}', b = x'{}' WHERE c = 'short'", "0aFF".repeat(100));
        let (short, large) = set_apart(&sql, 800, 100).unwrap();
        assert_eq!(large.len(), 1);
        assert_eq!(large[0].content, LargeContent::Text(long.replace("''", "'").into()));
        assert_eq!(inlined(&short, &large, usize::MAX).unwrap(), sql);
        assert_eq!(inlined(&short, &large, 600), None);
        let (short, large) = set_apart_all(&sql).unwrap();
        assert_eq!(large.len(), 2);
        assert!(inlined(&short, &large, usize::MAX).unwrap().eq_ignore_ascii_case(&sql));
        assert_eq!(set_apart(&sql, 100, 100), None);
        assert_eq!(set_apart(&format!("CREATE VIEW v AS SELECT '{long}'"), 600, 100), None);
    }

    #[test]
    fn a_list_that_json_does_not_say_stays() {
        let list = |item: &str| format!("DELETE FROM t WHERE a IN ({})", vec![item; 600].join(","));
        for item in ["1.5", "x'00'", "a", "(1)", "1+1", "18446744073709551615", "-'1'"] {
            assert_eq!(set_apart_all(&list(item)).unwrap().1, [], "{item}");
        }
        for item in ["1", "-5", "'a'", "NULL"] {
            assert_eq!(set_apart_all(&list(item)).unwrap().1.len(), 1, "{item}");
        }
    }

    fn item() -> impl Strategy<Value = String> {
        prop_oneof![
            (-3..9i64).prop_map(|n| n.to_string()),
            Just("NULL".to_owned()),
            prop::sample::select(
                &["'5'", "'05'", "'5.0'", "'a'", "'A'", "'a '", "'\"\\'", "''''", "'[1]'"][..]
            )
            .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_list_that_is_sent_ahead_holds_the_same(
            items in prop::collection::vec(item(), 1..5),
            column in prop::sample::select(&["a", "b", "c", "d", "e", "f", "g", "+a", "a || ''", "b + 0"][..]),
            not in prop::sample::select(&["", "NOT "][..]),
        ) {
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch(
                "CREATE TABLE t (a TEXT, b INTEGER, c REAL, d, e TEXT COLLATE NOCASE, f BLOB, g NUMERIC);
                 CREATE TABLE tmp_afterquery_value (id INTEGER PRIMARY KEY, v);",
            ).unwrap();
            for value in ["5", "'5'", "'05'", "5.0", "'5.0'", "'a'", "'A'", "NULL", "x'35'", "''''"] {
                let row = [value; 7].join(",");
                db.execute_batch(&format!("INSERT INTO t VALUES ({row})")).unwrap();
            }
            // Long enough to be worth it, with items that are in no row.
            let filler: Vec<_> = (1_000..1_400).map(|n| n.to_string()).collect();
            let list = [items, filler].concat().join(", ");
            let sql = format!("DELETE FROM t WHERE {column} {not}IN ({list})");
            let (short, large) = set_apart_all(&sql).unwrap();
            let LargeContent::Text(json) = &large[0].content else { panic!("no text") };
            db.execute("INSERT INTO tmp_afterquery_value VALUES (?, ?)", (large[0].id as i64, &**json)).unwrap();
            let left = |sql: &str| {
                db.execute_batch("SAVEPOINT s").unwrap();
                db.execute_batch(sql).unwrap();
                let mut rows = db.prepare("SELECT rowid FROM t").unwrap();
                let rows: Vec<i64> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
                db.execute_batch("ROLLBACK TO s; RELEASE s").unwrap();
                rows
            };
            prop_assert_eq!(left(&short), left(&sql), "{}", short);
        }
    }
}
