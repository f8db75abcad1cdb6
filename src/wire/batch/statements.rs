//! Statements into the text, each followed by its mark.

use std::fmt::Write as _;

use super::{BatchBuilder, Join, Mark, Place, changes_schema};
use crate::{
    wire::{fit, progress::Progress, watermark::TABLE},
    write::{SentStatement, Write},
};

/// The most rows sent as one statement. More make a row hardly cheaper (SQLite 3.40: one row 6.1 µs, ten 3.1, a hundred 2.4,
/// six hundred 2.4 each), and all of them are sent again when one fails.
const MAX_JOINED: u64 = 100;

impl BatchBuilder {
    /// Puts what is short enough for one text in the place of a write that is not, if there is such.
    pub(super) fn push_whole(&mut self, write: &Write, first: Progress, join: Join) -> bool {
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
    pub(super) fn push_part(&mut self, place: &Place<'_>, done: Progress) -> Option<Option<u64>> {
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

    pub(super) fn push(&mut self, place: &Place<'_>, room: usize) {
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
    pub(super) fn push_mark(&mut self) {
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
}
