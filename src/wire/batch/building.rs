//! The text as it is sent: the head, what was gathered, and the question for the row.

use std::fmt::Write as _;

use super::{Batch, BatchBuilder, Mark};
use crate::{
    wire::{
        sizes::{FRAME_BYTES, MAX_SQL_BYTES},
        watermark::{TABLE, drop_large, large_is_there},
    },
    write::Standing,
};

/// Where a row that fails would leave those before it in the table: a conflict clause FAIL of a constraint, or a trigger
/// that says FAIL. With LIKE in lower case, as `PRAGMA case_sensitive_like` may be on.
const NOTHING_FAILS_HALFWAY: &str = " AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE \
     lower(sql) LIKE '%conflict%fail%' OR type='trigger' AND lower(sql) LIKE '%fail%')";

impl BatchBuilder {
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

/// A number no other process will draw, below 2^53 because it comes back through JSON. From the system and not from a
/// generator of our own: two copies of one process image would draw the same.
fn new_chain() -> u64 {
    let random = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
    (random >> 11).max(1)
}
