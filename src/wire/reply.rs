//! What a replica's answer holds.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::{
    ground::quoted::{MAX_TOLD_BYTES, Quoted},
    sql::hide_values,
    write::Standing,
};

/// How many rows of an answer are kept. Ours hold one; two are enough to see that an answer is not ours.
const MAX_ROWS: usize = 2;

/// How much of a replica's words is searched for values before they are cut, in bytes.
const SEARCHED_BYTES: usize = 4 * MAX_TOLD_BYTES;

/// The body of an answer: `{"result": [...]}` or `{"error": "..."}`.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The rows of the last statement.
    #[serde(default, deserialize_with = "first_rows")]
    pub result: Option<Vec<Row>>,
    /// What went wrong.
    pub error: Option<Told>,
}

/// A replica's words as they came. They can be asked about; what is shown or kept of them is [`Told::quoted`].
#[derive(Deserialize)]
pub struct Told(String);

impl Told {
    /// Whether it begins so.
    pub fn starts_with(&self, text: &str) -> bool {
        self.0.starts_with(text)
    }

    /// Whether one of these is in it.
    pub fn contains_any(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.0.contains(text))
    }

    /// The primary code at the end of a message: `…: SQLITE_X` or `…: SQLITE_X (extended: SQLITE_X_Y)`. Only there: a
    /// table may be called anything.
    pub fn sqlite_code(&self) -> Option<&str> {
        let error = self.0.split_once(" (extended: SQLITE_").map_or(self.0.as_str(), |(message, _)| message);
        let (_, code) = error.trim_end_matches('.').rsplit_once(": ")?;
        code.starts_with("SQLITE_").then_some(code)
    }

    /// What may be shown of it: bounded, and without the values of `sql`, the text that it is about.
    pub fn quoted(&self, sql: Option<&str>) -> Quoted {
        quoted(self.0.as_bytes(), sql)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.quoted(None))
    }
}

/// What may be shown of a body: bounded, and without the values of `sql`, the text that it answers.
pub fn quoted(body: &[u8], sql: Option<&str>) -> Quoted {
    let text = String::from_utf8_lossy(&body[..body.len().min(SEARCHED_BYTES)]);
    match sql {
        Some(sql) => Quoted::body(hide_values(&text, sql).as_bytes()),
        None => Quoted::body(text.as_bytes()),
    }
}

/// The first rows of a list; the others are read and dropped.
fn first_rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Row>>, D::Error> {
    struct Rows;
    impl<'de> Visitor<'de> for Rows {
        type Value = Option<Vec<Row>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("rows")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut rows = Vec::new();
            while rows.len() < MAX_ROWS
                && let Some(row) = list.next_element()?
            {
                rows.push(row);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Some(rows))
        }
    }
    deserializer.deserialize_any(Rows)
}

/// A watermark row as it is returned. Every field may be missing: other texts return other rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Row {
    /// The row's key; a batch does not return it.
    #[serde(default)]
    pub id: u64,
    /// The last write applied whole.
    #[serde(default)]
    pub seq: u64,
    /// Statements applied of the write after it.
    #[serde(default)]
    pub step: u64,
    /// The text that moved the row last.
    #[serde(default)]
    pub chain: u64,
    /// What `changes()` said after each statement of that text: `,` within a write, `;` at its end.
    #[serde(default)]
    pub changes: String,
}

impl Row {
    /// Whether its numbers can be those of a row: SQLite's integers have a sign.
    pub fn is_sound(&self) -> bool {
        self.id != 0 && [self.id, self.seq, self.step, self.chain].iter().all(|&n| i64::try_from(n).is_ok())
    }

    /// Whether no text has moved it yet.
    pub fn is_new(&self) -> bool {
        self.standing(self.id).is_new()
    }

    /// The standing it tells of, for the row with key `id`.
    pub fn standing(&self, id: u64) -> Standing {
        Standing { id, seq: self.seq, step: self.step, chain: self.chain }
    }
}

/// How many rows whole writes of a batch have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// How many writes, one after another: more than one where each inserts a row and they were sent as one statement.
    pub writes: usize,
    /// The rows all of them changed. `None` where the text is not ours.
    pub rows: Option<i64>,
}

impl Changed {
    /// What `changes` says, in order.
    pub fn read(changes: &str) -> impl Iterator<Item = Self> {
        changes.split_inclusive(';').filter_map(|mark| Some(Self::of(mark.strip_suffix(';')?)))
    }

    /// The same where it speaks of exactly so many writes; else nothing of it is believed.
    pub fn read_of(changes: &str, writes: usize) -> impl Iterator<Item = Self> {
        let told = Self::read(changes).try_fold(0_usize, |sum, changed| sum.checked_add(changed.writes));
        Self::read(changes).take(if told == Some(writes) { usize::MAX } else { 0 })
    }

    fn of(mark: &str) -> Self {
        let (rows, writes) = mark.split_once('/').unwrap_or((mark, "1"));
        let rows = rows.split(',').try_fold(0_i64, |sum, n| {
            n.parse().ok().filter(|&rows: &i64| rows >= 0).and_then(|rows| sum.checked_add(rows))
        });
        let writes = writes.parse::<usize>().ok().filter(|&writes| writes > 0);
        Self { writes: writes.unwrap_or(1), rows: rows.filter(|_| writes.is_some()) }
    }

    /// The rows each of the writes changed. `None` where that is not known.
    pub fn each(self) -> Option<i64> {
        match self {
            Self { writes: 1, rows } => rows,
            // Each has inserted one row at the most: as many rows as writes are one for each.
            Self { writes, rows } => rows.filter(|&rows| rows == writes as i64).map(|_| 1),
        }
    }

    /// How many of the writes have changed nothing, though which is not known.
    pub fn missing(self) -> usize {
        match (self.each(), self.rows) {
            (None, Some(rows)) => self.writes.saturating_sub(usize::try_from(rows).unwrap_or(0)),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_summed_by_write_and_an_unfinished_write_is_left_out() {
        let sums = |text| Changed::read(text).map(Changed::each).collect::<Vec<_>>();
        assert_eq!(sums(""), []);
        assert_eq!(sums("1;"), [Some(1)]);
        assert_eq!(sums("1;0;2,3;"), [Some(1), Some(0), Some(5)]);
        assert_eq!(sums("1;2,"), [Some(1)]);
        assert_eq!(sums("2,"), []);
        assert_eq!(sums("x;1;"), [None, Some(1)]);
        assert_eq!(sums("-1;9223372036854775807,9223372036854775807;1;"), [None, None, Some(1)]);
    }

    #[test]
    fn counts_of_another_number_of_writes_are_not_believed() {
        let of = |text, writes| Changed::read_of(text, writes).count();
        assert_eq!((of("1;1;", 2), of("1;1;", 1), of("1;1;", 3)), (2, 0, 0));
        assert_eq!((of("3/3;1;", 4), of("1/18446744073709551615;1;", 4)), (2, 0));
        assert_eq!(of(&"1/18446744073709551615;".repeat(3), 1), 0);
    }

    #[test]
    fn of_many_rows_two_are_kept() {
        let body = format!(r#"{{"result":[{{"seq":1}}{}]}}"#, ",{}".repeat(300_000));
        let answer: Answer = serde_json::from_str(&body).unwrap();
        assert_eq!(answer.result.unwrap().len(), 2);
        for body in [
            "[]",
            r#"{"result":5}"#,
            r#"{"result":[5]}"#,
            r#"{"result":[{"seq":-1}]}"#,
            r#"{"result":[{"seq":1e400}]}"#,
        ] {
            assert!(
                serde_json::from_str::<Answer>(body).map_or(true, |answer| answer.result.is_none()),
                "{body}"
            );
        }
    }

    #[test]
    fn of_joined_rows_it_is_known_when_all_are_there_and_how_many_are_not() {
        let of = |text| Changed::read(text).map(|c| (c.writes, c.each(), c.missing())).collect::<Vec<_>>();
        assert_eq!(of("1;3/3;0;"), [(1, Some(1), 0), (3, Some(1), 0), (1, Some(0), 0)]);
        assert_eq!(of("2/3;"), [(3, None, 1)]);
        assert_eq!(of("x/3;2/x;2/0;"), [(3, None, 0), (1, None, 0), (1, None, 0)]);
    }
}
