//! Gathering writes into one text.
//!
//! Each statement is followed by its mark, which costs the replica about as much as a small INSERT. INSERTs of one row each
//! that differ in the row alone are therefore sent as one statement of several rows, with one mark. When such a statement
//! fails, SQLite undoes it whole, and its rows are sent again one by one, so that the one at fault is found. The head
//! makes sure that nothing in the replica's schema would leave it half done.

mod building;
mod statements;

use std::{ops::RangeInclusive, sync::Arc};

use super::{
    fit::{self, Apart},
    limits::Limits,
    progress::Progress,
};
use crate::{
    sql::LargeValue,
    write::{Reason, SentStatement, Standing, Write},
};

/// The most staged values in one text. More would spare hardly a request: each takes one of its own at least.
const MAX_STAGED: usize = 8;

/// A text to be sent, and what it carries.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The text.
    pub sql: String,
    /// The writes it carries, the last of them perhaps in part.
    pub writes: Vec<Arc<Write>>,
    /// The chain it sets: how it is recognised on the replica.
    pub chain: u64,
    /// Values to be staged before it is sent.
    pub large: Vec<LargeValue>,
    /// For each statement that joins the rows of several, the numbers of the writes in it.
    pub joined: Vec<RangeInclusive<u64>>,
    /// What the row says once all of it has run: `seq` and `step`.
    pub end: (u64, u64),
    /// Whether something shorter stands for its only write, which is too long.
    pub is_whole: bool,
}

/// Which INSERTs may be sent as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// None: the replica's schema does not allow it.
    Nothing,
    /// Those of the writes after this number. One up to there is being looked for that fails.
    After(u64),
}

impl Join {
    fn allows(self, write: &Write) -> bool {
        match self {
            Self::Nothing => false,
            Self::After(seq) => write.seq > seq,
        }
    }
}

/// Gathers writes into one text.
#[derive(Debug)]
pub struct BatchBuilder {
    replica: u8,
    limits: Limits,
    /// What is left of the limits for statements.
    rooms: (usize, usize),
    max_writes: usize,
    join: Join,
    id: u64,
    /// How far the first write is.
    step: u64,
    /// The same, until that write is added.
    skip: Progress,
    /// What comes after the head, without the last mark.
    tail: String,
    /// The mark of the statement that `tail` ends with.
    mark: Option<Mark>,
    joined: Vec<RangeInclusive<u64>>,
    writes: Vec<Arc<Write>>,
    large: Vec<LargeValue>,
    full: bool,
    /// What was set apart of a statement that is too long for a text.
    pub apart: Option<Apart>,
    /// Why the first write cannot be sent.
    pub refused: Option<Reason>,
    /// The number of a write that is to go in parts: one of its statements fails, and is looked for.
    pub in_parts: Option<u64>,
    /// Whether something shorter stands for the write.
    is_whole: bool,
}

/// What the mark after a statement says, and whether rows may still be added to that statement.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The first write it covers.
    first: u64,
    /// The last one.
    seq: u64,
    /// How far the write is with it; 0 where a part of the statement was applied before.
    step: u64,
    /// Whether the write ends with it.
    ends: bool,
    /// How many writes it covers.
    writes: u64,
    /// How many rows it has.
    rows: u64,
    /// Where in the tail its text begins that is the same for all rows, and how long that is.
    same: Option<(usize, usize)>,
    /// Whether it is that of a write which inserts one row, or of several such writes.
    single: bool,
}

/// How far a text is, to go back to there.
struct Length {
    join: Join,
    tail: usize,
    large: usize,
    joined: usize,
    mark: Option<Mark>,
}

/// A statement in its write.
struct Place<'a> {
    statement: &'a SentStatement,
    seq: u64,
    step: u64,
    ends: bool,
    /// Whether its row may be added to the statement before it, or others to it.
    joins: bool,
    /// Whether it is all of a write that is supposed to change one row: of several such ones it is enough to know how many
    /// rows they changed.
    single: bool,
}

impl BatchBuilder {
    /// One for `replica`, for texts within `limits`. The first write is as far as `step` says.
    pub fn new(
        replica: u8,
        standing: Standing,
        step: u64,
        limits: Limits,
        max_writes: usize,
        join: Join,
    ) -> Self {
        Self {
            replica,
            limits,
            rooms: limits.rooms(),
            max_writes,
            join,
            id: standing.id,
            skip: Progress::of(step),
            step,
            tail: String::new(),
            mark: None,
            joined: Vec::new(),
            writes: Vec::new(),
            large: Vec::new(),
            full: false,
            apart: None,
            refused: None,
            in_parts: None,
            is_whole: false,
        }
    }

    /// Adds a write. `false` when it does not fit any more, and when it can only stand alone.
    pub fn add(&mut self, write: &Arc<Write>) -> bool {
        if self.full || self.writes.len() >= self.max_writes {
            return false;
        }
        let before = self.length();
        let count = write.statements_for(self.replica).count() as u64;
        if count == 0 {
            // It cannot be sent: whoever settles it must come to it with nothing in front.
            self.full = true;
            return false;
        }
        let single = count == 1 && matches!(write.expected(), None | Some(1));
        let first = std::mem::take(&mut self.skip);
        if !self.is_empty() && self.limits.is_wide() && has_large(write, self.replica) {
            // Alone it can have its values in it, and needs no request for each.
            self.full = true;
            return false;
        }
        let room = if self.is_empty() { self.rooms.1 } else { self.rooms.0 };
        let mut done = first;
        for statement in write.statements_for(self.replica).skip(first.statements as usize) {
            let at = self.length();
            let (step, ends) = (done.statements + 1, done.statements + 1 == count);
            if changes_schema(&statement.sql) {
                // The head has looked at the schema as it was before.
                self.join = Join::Nothing;
            }
            let joins = self.join.allows(write);
            let place = Place { statement, seq: write.seq, step, ends, joins, single };
            if done.rows == 0 {
                self.push(&place, room);
            }
            if done.rows > 0 || self.size() > room {
                self.cut(&at);
                // Only the first may be cut: what is behind others has a text of its own to come.
                match if done == first && self.is_empty() { self.push_part(&place, done) } else { None } {
                    Some(None) => {}
                    Some(Some(rows)) => {
                        done.rows = rows;
                        break;
                    }
                    None => break,
                }
            }
            done = Progress { statements: step, rows: 0 };
        }
        let fits = self.size() <= room && done == Progress { statements: count, rows: 0 };
        if !fits && !self.is_empty() {
            // It does not fit behind the others. Alone it will, or go in parts.
            self.cut(&before);
            self.full = true;
            return false;
        }
        if !fits && self.push_whole(write, first, before.join) {
            self.full = true;
            self.writes.push(Arc::clone(write));
            return true;
        }
        if !fits {
            let begins = first == Progress::default();
            self.refused = begins.then(|| fit::refusal(write, self.replica, self.limits)).flatten();
            if self.refused.is_none() && done == first {
                self.refused = Some(fit::cannot_go_on(self.limits));
            }
        }
        if self.refused.is_some() {
            self.cut(&before);
            self.full = true;
            return false;
        }
        self.full = !fits || self.large.len() >= MAX_STAGED;
        self.writes.push(Arc::clone(write));
        true
    }

    fn length(&self) -> Length {
        Length {
            join: self.join,
            tail: self.tail.len(),
            large: self.large.len(),
            joined: self.joined.len(),
            mark: self.mark,
        }
    }

    /// Takes off what was added since then.
    fn cut(&mut self, length: &Length) {
        self.join = length.join;
        self.tail.truncate(length.tail);
        self.large.truncate(length.large);
        self.joined.truncate(length.joined);
        self.mark = length.mark;
    }

    fn size(&self) -> usize {
        self.tail.len() + fit::staged(self.large.len())
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

fn has_large(write: &Write, replica: u8) -> bool {
    write.statements_for(replica).any(|statement| statement.large.is_some())
}

/// Whether a statement may be another than one that changes rows. It begins with its first word.
fn changes_schema(sql: &str) -> bool {
    const CHANGE_ROWS: [&str; 5] = ["INSERT", "REPLACE", "UPDATE", "DELETE", "WITH"];
    let begins = |word: &str| sql.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    !CHANGE_ROWS.iter().any(|word| begins(word))
}
