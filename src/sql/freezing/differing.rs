//! What a statement may do otherwise on a replica with the parameters it ran with, and the text in which it does the same.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use super::freeze::{FreezeContext, freeze};
use crate::sql::meaning::{
    classification::{Classification, Placeholder},
    classify::classify,
};

/// Parameters, as far as a text among them may decide what a statement does: `'now'` may be bound, too.
pub trait BoundTexts {
    /// The text of parameter number `index` (from 0), or of the one called `name`; `None` where there is none.
    fn text(&self, index: u32, name: Option<&str>) -> Option<String>;
}

/// Seconds from UTC to the local time of an instant, which is in seconds since 1970; `None` where that is not known.
pub type Zone<'a> = &'a dyn Fn(i64) -> Option<i32>;

/// What the caller's connection did before, where the caller tells.
#[derive(Debug, Default, Clone, Copy)]
pub struct Before {
    /// What `last_insert_rowid()` would give.
    pub last_insert_rowid: Option<i64>,
    /// What `changes()` would give.
    pub changes: Option<i64>,
    /// What `total_changes()` would give.
    pub total_changes: Option<i64>,
}

/// `sql` with what would differ on a replica frozen; `None` where it can run as it is.
pub fn frozen(sql: &str, parameters: &dyn BoundTexts, zone: Zone<'_>, before: Before) -> Option<String> {
    let classification = classify(sql);
    let texts = texts(&classification, sql, parameters);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let mut context = Context { zone, now, before };
    freeze(sql, &classification, |index, hole| texts.get(index, hole), &mut context).sql
}

/// Why `sql` may do something else on a replica with these parameters; `None` where it does not.
pub fn differs(sql: &str, parameters: &dyn BoundTexts, zone: Zone<'_>) -> Option<String> {
    let classification = classify(sql);
    let texts = texts(&classification, sql, parameters);
    let mut context = Context { zone, now: 0, before: Before::default() };
    let frozen = freeze(sql, &classification, |index, hole| texts.get(index, hole), &mut context);
    let unfrozen = frozen.unfrozen.iter().map(|(_, reason)| reason.what);
    // What could have been frozen was not: `before_query` was not used.
    let freezable =
        classification.statements.iter().flat_map(|statement| &statement.reasons).map(|reason| reason.what);
    let mut reasons: Vec<_> =
        unfrozen.chain(freezable.filter(|_| frozen.sql.is_some())).map(|what| what.as_str()).collect();
    reasons.dedup();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// The texts bound to the placeholders of statements that have reasons, by statement and parameter.
struct Texts(HashMap<(usize, u32), String>);

impl Texts {
    fn get(&self, statement: usize, hole: &Placeholder) -> Option<&str> {
        self.0.get(&(statement, hole.index)).map(String::as_str)
    }
}

fn texts(classification: &Classification, sql: &str, parameters: &dyn BoundTexts) -> Texts {
    let mut texts = HashMap::new();
    let mut first = 0;
    for (index, statement) in classification.statements.iter().enumerate() {
        for hole in statement.placeholders.iter().filter(|_| !statement.reasons.is_empty()) {
            let name = hole.named.then(|| &sql[hole.span.start + 1..hole.span.end]);
            if let Some(text) = parameters.text(first + hole.index - 1, name) {
                texts.insert((index, hole.index), text);
            }
        }
        first += statement.placeholders.iter().map(|hole| hole.index).max().unwrap_or(0);
    }
    Texts(texts)
}

struct Context<'a> {
    zone: Zone<'a>,
    now: i64,
    before: Before,
}

impl FreezeContext for Context<'_> {
    fn unix_milliseconds(&self) -> i64 {
        self.now
    }

    fn utc_offset_seconds(&self, unix_seconds: i64) -> Option<i32> {
        (self.zone)(unix_seconds)
    }

    fn random(&mut self) -> u64 {
        // From the system: an application may use `random()` where it must not be guessed.
        getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
    }

    fn last_insert_rowid(&self) -> Option<i64> {
        self.before.last_insert_rowid
    }

    fn changes(&self) -> Option<i64> {
        self.before.changes
    }

    fn total_changes(&self) -> Option<i64> {
        self.before.total_changes
    }
}
