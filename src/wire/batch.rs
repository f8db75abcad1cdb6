//! Gathering writes into one text.
//!
//! Each statement is followed by its mark, which costs the replica about as much as a small INSERT. INSERTs of one row each
//! that differ in the row alone are therefore sent as one statement of several rows, with one mark. When such a statement
//! fails, SQLite undoes it whole, and its rows are sent again one by one, so that the one at fault is found. The head
//! makes sure that nothing in the replica's schema would leave it half done.

use std::{fmt::Write as _, ops::RangeInclusive, sync::Arc};

use super::{
    fit::{self, Apart, FRAME_BYTES, Limits, Progress},
    sizes::MAX_SQL_BYTES,
    watermark::{TABLE, drop_large, large_is_there},
};
use crate::{
    sql::LargeValue,
    write::{Reason, SentStatement, Standing, Write},
};

/// The most rows sent as one statement. More make a row hardly cheaper (SQLite 3.40: one row 6.1 µs, ten 3.1, a hundred 2.4,
/// six hundred 2.4 each), and all of them are sent again when one fails.
const MAX_JOINED: u64 = 100;

/// The most staged values in one text. More would spare hardly a request: each takes one of its own at least.
const MAX_STAGED: usize = 8;

/// Where a row that fails would leave those before it in the table: a conflict clause FAIL of a constraint, or a trigger
/// that says FAIL. With LIKE in lower case, as `PRAGMA case_sensitive_like` may be on.
const NOTHING_FAILS_HALFWAY: &str = " AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE \
     lower(sql) LIKE '%conflict%fail%' OR type='trigger' AND lower(sql) LIKE '%fail%')";

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

    /// Puts what is short enough for one text in the place of a write that is not, if there is such.
    fn push_whole(&mut self, write: &Write, first: Progress, join: Join) -> bool {
        let changes_schema = || write.statements_for(self.replica).any(|s| changes_schema(&s.sql));
        // Statements are joined here, too: see `NOTHING_FAILS_HALFWAY`.
        let may_join = join != Join::Nothing && self.in_parts != Some(write.seq) && !changes_schema();
        if first != Progress::default() || !may_join {
            return false;
        }
        let Some(apart) = fit::whole(write, self.replica, self.limits, &mut self.apart) else { return false };
        let (pieces, large) = (apart.pieces.clone(), apart.large.clone());
        self.tail.clear();
        self.joined.clear();
        self.mark = None;
        self.large = large;
        let (seq, last) = (write.seq, pieces.len().saturating_sub(1));
        let mut step = 0;
        for (at, piece) in pieces.iter().enumerate() {
            self.push_mark();
            self.tail.push(';');
            self.tail.push_str(&piece.sql);
            step += piece.statements;
            let ends = at == last;
            let step = if ends { 0 } else { step };
            let (first, writes, rows) = (seq, 1, 1);
            self.mark = Some(Mark { first, seq, step, ends, writes, rows, same: None, single: false });
        }
        self.is_whole = true;
        true
    }

    /// Adds the next part of a statement that is too long: `None` when there is none that fits, else how many of its rows
    /// are applied then, unless all are.
    fn push_part(&mut self, place: &Place<'_>, done: Progress) -> Option<Option<u64>> {
        let &Place { statement, seq, .. } = place;
        let part = fit::part(statement, seq, done, self.limits, &mut self.apart)?;
        self.push_mark();
        self.tail.push(';');
        self.tail.push_str(&part.sql);
        self.large.extend(part.large);
        let ends = place.ends && part.rows.is_none();
        let after = match part.rows {
            Some(rows) => Progress { rows, ..done },
            None => Progress { statements: place.step, rows: 0 },
        };
        let step = if ends { 0 } else { after.step() };
        self.mark = Some(Mark { first: seq, seq, step, ends, writes: 1, rows: 1, same: None, single: false });
        Some(part.rows)
    }

    fn push(&mut self, place: &Place<'_>, room: usize) {
        if place.joins && self.join_row(place) {
            return;
        }
        self.push_mark();
        self.tail.push(';');
        let start = self.tail.len();
        let put_back = self.put_back(place.statement, room.saturating_sub(start));
        let is_put_back = put_back.is_some();
        match put_back {
            Some(sql) => self.tail.push_str(&sql),
            None => self.tail.push_str(&place.statement.sql),
        }
        let same = place.statement.split_row().filter(|_| place.joins).map(|(same, _)| (start, same.len()));
        let &Place { seq, step, ends, single, .. } = place;
        self.mark = Some(Mark { first: seq, seq, step, ends, writes: 1, rows: 1, same, single });
        if let Some(large) = place.statement.large.as_ref().filter(|_| !is_put_back) {
            self.large.extend(large.iter().cloned());
        }
    }

    /// The statement with its large values in it, where the replica takes it so.
    fn put_back(&self, statement: &SentStatement, room: usize) -> Option<String> {
        statement.large.as_ref()?;
        if self.limits.is_wide() && self.is_empty() { fit::put_back(statement, room) } else { None }
    }

    /// Adds a row to the statement before it. `false` where that is not the same but for the row.
    fn join_row(&mut self, place: &Place<'_>) -> bool {
        let (Some((same, row)), Some(mark)) = (place.statement.split_row(), &mut self.mark) else {
            return false;
        };
        let is_same = mark.same.is_some_and(|(at, length)| self.tail.get(at..at + length) == Some(same));
        let next_write = mark.single && place.single;
        let same_write = mark.seq == place.seq && !mark.ends;
        if !is_same || mark.rows >= MAX_JOINED || !(next_write || same_write) {
            return false;
        }
        self.tail.push(',');
        self.tail.push_str(row);
        mark.writes += u64::from(next_write);
        mark.rows += 1;
        mark.seq = place.seq;
        mark.step = place.step;
        mark.ends = place.ends;
        true
    }

    /// Puts the mark behind the statement that it belongs to, directly: anything between would change what `changes()`
    /// says.
    fn push_mark(&mut self) {
        let Some(mark) = self.mark.take() else { return };
        if mark.rows > 1 {
            self.joined.push(mark.first..=mark.seq);
        }
        let (id, seq, step) = (self.id, mark.seq, mark.step);
        let _ = write!(self.tail, ";UPDATE {TABLE} SET ");
        let _ = match mark {
            Mark { ends: false, .. } => write!(self.tail, "step={step},changes=changes||changes()||','"),
            Mark { writes: 1, step: 1, .. } => write!(self.tail, "seq={seq},changes=changes||changes()||';'"),
            Mark { writes: 1, .. } => write!(self.tail, "seq={seq},step=0,changes=changes||changes()||';'"),
            Mark { writes, .. } => write!(self.tail, "seq={seq},changes=changes||changes()||'/{writes};'"),
        };
        let _ = write!(self.tail, " WHERE id={id}");
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

    /// The text, with a head that expects `standing` and counts everything up to `position` as done.
    pub fn build(mut self, origin: &str, standing: Standing, position: u64) -> Batch {
        let end = match self.mark {
            Some(Mark { seq, ends: true, .. }) => (seq, 0),
            Some(Mark { step, .. }) => (position, step),
            None => (position, self.step),
        };
        self.push_mark();
        let chain = new_chain();
        let Standing { id, seq, step, chain: expected } = standing;
        // A write begun but not finished goes on where it stopped.
        let resumed = self.step;
        let mut sql = String::with_capacity(self.tail.len() + FRAME_BYTES);
        let _ = write!(
            sql,
            "INSERT INTO {TABLE} (origin,seq,step,chain,changes,durable,seen) VALUES ('{origin}',\
             (SELECT CASE WHEN seq={seq} AND step={step} AND chain={expected}"
        );
        if !self.joined.is_empty() || self.is_whole {
            sql.push_str(NOTHING_FAILS_HALFWAY);
        }
        sql.push_str(&large_is_there(&self.large, MAX_SQL_BYTES));
        let _ = write!(
            sql,
            " THEN {position} END FROM {TABLE} NOT INDEXED WHERE id={id} AND origin='{origin}'),{resumed},{chain},'',0,0) \
             ON CONFLICT (origin) DO UPDATE SET seq=excluded.seq,step=excluded.step,chain=excluded.chain,changes=''"
        );
        sql.push_str(&self.tail);
        if !self.large.is_empty() {
            sql.push(';');
            sql.push_str(&drop_large(self.large.iter().map(|value| value.id)));
        }
        // Not RETURNING on the last mark: it opens a savepoint, at which FTS5 flushes rows of its own and so changes
        // what `changes()` says.
        let _ = write!(sql, ";SELECT seq,step,chain,changes FROM {TABLE} WHERE id={id}");
        Batch {
            sql,
            writes: self.writes,
            chain,
            large: self.large,
            joined: self.joined,
            is_whole: self.is_whole,
            end,
        }
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

/// A number no other process will draw, below 2^53 because it comes back through JSON. From the system and not from a
/// generator of our own: two copies of one process image would draw the same.
fn new_chain() -> u64 {
    let random = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
    (random >> 11).max(1)
}
