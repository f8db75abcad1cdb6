//! Writing a statement so that it does the same on every replica and at any time.
//!
//! What reads the clock is given one instant as an exact literal, chance is drawn once, and what
//! the connection knows is filled in. Where one literal would change what the statement means it is
//! left alone, and told.

use std::ops::Range;

use super::{
    column_names::{TextNamed, text_named},
    instant::Instant,
    occurrence::{Call, ValuesRows},
};
use crate::sql::{
    determinism::{
        functions::Function,
        verdict::{Base, Reason, Role, Site},
    },
    meaning::classification::{Classification, Kind, Placeholder, Statement},
    text::{token::Lexer, words::is},
};

/// The longest `randomblob(n)` that is written out, in bytes.
const MAX_RANDOM_BLOB: usize = 4096;

/// What a frozen statement is filled with.
pub trait FreezeContext {
    /// The instant the text runs at, in milliseconds since 1970-01-01 00:00:00 UTC.
    fn unix_milliseconds(&self) -> i64;

    /// How many seconds the local time is ahead of UTC at an instant, in seconds since 1970-01-01
    /// 00:00:00 UTC; None if it is not known.
    fn utc_offset_seconds(&self, unix_seconds: i64) -> Option<i32>;

    /// 64 random bits, new ones each time.
    fn random(&mut self) -> u64;

    /// What `last_insert_rowid()` gives before the text runs, if known.
    fn last_insert_rowid(&self) -> Option<i64> {
        None
    }

    /// What `changes()` gives before the text runs, if known.
    fn changes(&self) -> Option<i64> {
        None
    }

    /// What `total_changes()` gives before the text runs, if known.
    fn total_changes(&self) -> Option<i64> {
        None
    }
}

/// What became of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frozen {
    /// The text to run on both sides; None if the text itself can run as it is. It takes the same
    /// parameters as the text.
    pub sql: Option<String>,
    /// What may still differ: the statement's index and the reason, whose span is in the text given.
    pub unfrozen: Vec<(usize, Reason)>,
}

/// Freezes the writes of a text.
///
/// `parameter` tells the text (or the bytes, as text) bound to a placeholder of the statement with
/// that index, and None for any other value: a date function takes a bound 'now' like a literal.
///
/// - `'now'`, a time value left out and CURRENT_TIMESTAMP become literals of one instant; so does a
///   bound 'now', as `coalesce('…', ?)`, which keeps the parameters' numbers.
/// - `'localtime'` becomes a fixed offset where it is the first modifier of the instant. Elsewhere
///   the offset depends on the value, and `'utc'` on the version of SQLite: both stay.
/// - `random()` and `randomblob(n)` are drawn in the rows of an INSERT … VALUES, where each is
///   evaluated once. Elsewhere they are evaluated for each row, and stay.
/// - `last_insert_rowid()`, `changes()` and `total_changes()` are filled in if known, in the first
///   statement only. `last_insert_rowid()` moves while an INSERT adds several rows, and stays there.
pub fn freeze<'p>(
    sql: &str,
    classification: &Classification,
    parameter: impl Fn(usize, &Placeholder) -> Option<&'p str>,
    context: &mut dyn FreezeContext,
) -> Frozen {
    let mut frozen = Frozen::default();
    let mut edits = Vec::new();
    let lexer = Lexer::new(sql);
    for (index, statement) in classification.statements.iter().enumerate() {
        if statement.reasons.is_empty() || !matches!(statement.kind, Kind::Write | Kind::Ddl) {
            continue;
        }
        let now = Instant(context.unix_milliseconds());
        let values = ValuesRows::of(sql, statement);
        let parameter = |placeholder: &Placeholder| parameter(index, placeholder);
        let mut freezer =
            Freezer { sql, lexer, statement, is_first: index == 0, now, values, parameter, context };
        let first = edits.len();
        for reason in &statement.reasons {
            match freezer.edit(reason) {
                Outcome::Edit(edit) => edits.push(edit),
                Outcome::Same => {}
                Outcome::Stays => frozen.unfrozen.push((index, reason.clone())),
            }
        }
        name_columns(sql, statement, &mut edits, first);
    }
    frozen.sql = (!edits.is_empty()).then(|| apply(sql, &edits));
    frozen
}

/// Says the names of columns that edits from number `first` on would change.
fn name_columns(sql: &str, statement: &Statement, edits: &mut Vec<Edit>, first: usize) {
    let changed = |column: &TextNamed| {
        edits.iter().skip(first).any(|edit: &Edit| column.span.contains(&edit.span.start))
    };
    let named: Vec<_> = text_named(sql, statement).into_iter().filter(changed).collect();
    edits.extend(
        named.into_iter().map(|TextNamed { span, alias }| Edit { span: span.end..span.end, text: alias }),
    );
    edits[first..].sort_by_key(|edit| edit.span.start);
}

struct Edit {
    span: Range<usize>,
    text: String,
}

enum Outcome {
    Edit(Edit),
    /// Nothing differs after all.
    Same,
    Stays,
}

struct Freezer<'a, F> {
    sql: &'a str,
    lexer: Lexer<'a>,
    statement: &'a Statement<'a>,
    is_first: bool,
    now: Instant,
    values: Option<ValuesRows>,
    parameter: F,
    context: &'a mut dyn FreezeContext,
}

impl<'p, F: Fn(&Placeholder) -> Option<&'p str>> Freezer<'_, F> {
    fn edit(&mut self, reason: &Reason) -> Outcome {
        let text = match reason.site {
            Site::Keyword => format!(" {} ", quote(&self.keyword(reason))),
            Site::Now => quote(&self.now.time_value()),
            Site::Subsec => format!("{}, 'subsec'", quote(&self.now.time_value())),
            Site::Missing { comma } => {
                format!("{}{}", if comma { ", " } else { "" }, quote(&self.now.time_value()))
            }
            Site::Parameter { index, role } => return self.parameter_edit(reason, index, role),
            Site::LocalTime { base } if self.is_now(base) => match self.local_offset() {
                Some(seconds) => format!("'{seconds:+} seconds'"),
                None => return Outcome::Stays,
            },
            Site::Call(function) => return self.call_edit(reason, function),
            Site::LocalTime { .. } | Site::Fixed => return Outcome::Stays,
        };
        Outcome::Edit(Edit { span: reason.span.clone(), text })
    }

    fn keyword(&self, reason: &Reason) -> String {
        match self.sql.get(reason.span.clone()).map(str::len) {
            Some(17) => self.now.timestamp(),
            Some(_) if self.text_is(reason, "CURRENT_DATE") => self.now.date(),
            _ => self.now.time(),
        }
    }

    fn text_is(&self, reason: &Reason, keyword: &str) -> bool {
        is(self.sql.as_bytes().get(reason.span.clone()).unwrap_or_default(), keyword)
    }

    fn bound(&self, index: usize) -> Option<&'p str> {
        self.statement.placeholders.get(index).and_then(&self.parameter)
    }

    fn bound_is(&self, index: usize, words: &[&str]) -> bool {
        self.bound(index).is_some_and(|text| words.iter().any(|word| text.eq_ignore_ascii_case(word)))
    }

    fn is_now(&self, base: Base) -> bool {
        match base {
            Base::Now => true,
            Base::Parameter(index) => self.bound_is(index, &["now"]),
            Base::Other => false,
        }
    }

    fn local_offset(&self) -> Option<i32> {
        self.context.utc_offset_seconds(self.now.0.div_euclid(1000))
    }

    fn parameter_edit(&self, reason: &Reason, index: usize, role: Role) -> Outcome {
        match role {
            Role::Value if self.bound_is(index, &["now"]) => {
                let placeholder = self.sql.get(reason.span.clone()).unwrap_or_default();
                let text = format!("coalesce({}, {placeholder})", quote(&self.now.time_value()));
                Outcome::Edit(Edit { span: reason.span.clone(), text })
            }
            Role::Value if self.bound_is(index, &["subsec", "subsecond"]) => Outcome::Stays,
            Role::Part if self.bound_is(index, &["now", "subsec", "subsecond"]) => Outcome::Stays,
            Role::Modifier if self.bound_is(index, &["localtime", "utc"]) => Outcome::Stays,
            Role::Value | Role::Part | Role::Modifier => Outcome::Same,
        }
    }

    fn call_edit(&mut self, reason: &Reason, function: Function) -> Outcome {
        let Some(call) = Call::at(self.lexer, reason) else { return Outcome::Stays };
        let once = self.values.as_ref().is_some_and(|values| values.span.contains(&reason.span.start));
        let single = self.statement.verb != "INSERT"
            || once && self.values.as_ref().is_some_and(|values| values.rows == 1);
        let text = match (function, call.argument) {
            (Function::Random, None) if once => Some(integer(self.context.random().cast_signed())),
            (Function::RandomBlob, Some(length)) if once => self.blob(length),
            (Function::LastInsertRowid, None) if self.is_first && single => {
                self.context.last_insert_rowid().map(integer)
            }
            (Function::Changes, None) if self.is_first => self.context.changes().map(integer),
            (Function::TotalChanges, None) if self.is_first => self.context.total_changes().map(integer),
            _ => None,
        };
        match text {
            Some(text) => Outcome::Edit(Edit { span: reason.span.start..call.end, text }),
            None => Outcome::Stays,
        }
    }

    /// SQLite gives one byte for a length below one.
    fn blob(&mut self, length: i64) -> Option<String> {
        let length = usize::try_from(length.max(1)).ok().filter(|length| *length <= MAX_RANDOM_BLOB)?;
        let mut hex = String::with_capacity(length * 2 + 16);
        while hex.len() < length * 2 {
            hex.push_str(&format!("{:016x}", self.context.random()));
        }
        hex.truncate(length * 2);
        Some(format!(" x'{hex}' "))
    }
}

/// An integer in place of a call: an expression, so that ORDER BY does not take it for a column's
/// position, and in parentheses, so that signs do not merge into a comment.
fn integer(value: i64) -> String {
    format!(" (0+{value}) ")
}

fn quote(text: &str) -> String {
    format!("'{text}'")
}

fn apply(sql: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(sql.len() + edits.len() * 32);
    let mut done = 0;
    for edit in edits {
        out.push_str(sql.get(done..edit.span.start).unwrap_or_default());
        out.push_str(&edit.text);
        done = edit.span.end;
    }
    out.push_str(sql.get(done..).unwrap_or_default());
    out
}
