//! The texts that make delivery exactly once in effect.
//!
//! Each replica has one row per origin: the watermark. A batch is ONE text, which the replica runs
//! synchronously and atomically against a crash:
//!
//! 1. The head moves the row from the standing we know to a new `chain`, a random number. It fails, and
//!    nothing after it runs, unless the row is exactly as we left it. So no text can ever run twice, whatever
//!    the network does with it, and two processes that write as one origin notice each other.
//! 2. After each statement a mark notes how far the batch is (`seq`, `step`) and what `changes()` said.
//!
//! When an answer is lost, the row tells what happened: the chain which of our texts ran last, `seq` and
//! `step` how far it came. This holds whether or not the replica rolls back a text that fails midway.
//!
//! The table lies among the names StarbaseDB keeps for internal use (`tmp_…`).

use std::{fmt::Write as _, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    sql::{LargeContent, LargeValue, VALUE_TABLE, Value, push_literal},
    write::Write,
};

const TABLE: &str = "tmp_afterquery_watermark";

/// Seconds after which the row of an origin without a durable journal may be removed by another origin: the
/// process is long gone, since a living one refreshes its row daily. 30 days.
pub const ORPHAN_SECONDS: u64 = 30 * 86_400;

/// What the row says, and what the next head therefore expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The row's key: shorter to name than the origin.
    pub id: u64,
    /// The last write applied whole.
    pub seq: u64,
    /// Statements applied of the write after it.
    pub step: u64,
    /// Which text moved the row last.
    pub chain: u64,
}

/// Creates the tables, and the row if the origin is new there, and reads the row. Running it twice is harmless. The row
/// of a `durable` origin stays however long nothing is heard of it: its journal may lie on a machine that is off.
pub fn handshake(origin: &str, durable: bool) -> String {
    let durable = u8::from(durable);
    format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (id INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE, \
         seq INTEGER NOT NULL, step INTEGER NOT NULL, chain INTEGER NOT NULL, changes TEXT NOT NULL, \
         durable INTEGER NOT NULL, seen INTEGER NOT NULL);\
         CREATE TABLE IF NOT EXISTS {VALUE_TABLE} (id INTEGER PRIMARY KEY, origin TEXT NOT NULL, \
         parts INTEGER NOT NULL, v);\
         DELETE FROM {TABLE} WHERE durable=0 AND origin<>'{origin}' \
         AND seen<CAST(strftime('%s','now') AS INTEGER)-{ORPHAN_SECONDS};\
         INSERT INTO {TABLE} (origin,seq,step,chain,changes,durable,seen) \
         VALUES ('{origin}',0,0,0,'',{durable},CAST(strftime('%s','now') AS INTEGER)) \
         ON CONFLICT (origin) DO UPDATE SET durable=excluded.durable,seen=excluded.seen;\
         {}",
        inspect(origin)
    )
}

/// Reads the row.
pub fn inspect(origin: &str) -> String {
    format!("SELECT id,seq,step,chain,changes FROM {TABLE} WHERE origin='{origin}'")
}

/// Removes the row and what was staged: the origin is finished and will not write again.
pub fn forget(origin: &str) -> String {
    format!("DELETE FROM {VALUE_TABLE} WHERE origin='{origin}';DELETE FROM {TABLE} WHERE origin='{origin}'")
}

/// Says that the origin is finished. Its row stays for [`ORPHAN_SECONDS`], so that a copy of its journal that turns
/// up within that time applies nothing a second time.
pub fn retire(origin: &str) -> String {
    format!(
        "DELETE FROM {VALUE_TABLE} WHERE origin='{origin}';\
         UPDATE {TABLE} SET durable=0,seen=CAST(strftime('%s','now') AS INTEGER) WHERE origin='{origin}'"
    )
}

/// The texts that put a large value on the replica, each at most about `max_bytes` long. Each but the first
/// appends to what the one before it left, and does nothing if it comes twice or too late.
pub fn stage_large(origin: &str, value: &LargeValue, max_bytes: usize) -> Vec<String> {
    // A text is at its longest as hexadecimal digits: two bytes each.
    let chunk = max_bytes.saturating_sub(300).max(8) / 2;
    let id = value.id;
    let pieces = chunks(&value.content, chunk);
    let text = |(part, piece): (usize, Value<'_>)| {
        let mut sql = String::new();
        if part == 0 {
            let _ = write!(
                sql,
                "INSERT OR IGNORE INTO {VALUE_TABLE} (id,origin,parts,v) VALUES ({id},'{origin}',1,"
            );
            push_literal(&mut sql, piece);
            sql.push(')');
            return sql;
        }
        let is_text = matches!(piece, Value::Text(_));
        // `||` makes a text of two blobs without changing a byte; CAST only gives the type back.
        let _ = write!(
            sql,
            "UPDATE {VALUE_TABLE} SET parts={},v={}v||",
            part + 1,
            if is_text { "" } else { "CAST(" }
        );
        push_literal(&mut sql, piece);
        let _ = write!(sql, "{} WHERE id={id} AND parts={part}", if is_text { "" } else { " AS BLOB)" });
        sql
    };
    pieces.into_iter().enumerate().map(text).collect()
}

/// Removes staged values whose statement will not come.
pub fn drop_large(ids: impl IntoIterator<Item = u64>) -> String {
    let ids: Vec<_> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("DELETE FROM {VALUE_TABLE} WHERE id IN ({})", ids.join(","))
}

/// A number no other process will draw, below 2^53 because it comes back through JSON. From the system and not from a
/// generator of our own: two copies of one process image would draw the same.
fn new_chain() -> u64 {
    let random = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
    (random >> 11).max(1)
}

fn chunks(content: &LargeContent, size: usize) -> Vec<Value<'_>> {
    match content {
        LargeContent::Blob(bytes) => bytes.chunks(size).map(Value::Blob).collect(),
        LargeContent::Text(text) => {
            let mut pieces = Vec::new();
            let mut rest: &str = text;
            while !rest.is_empty() {
                let mut end = size.min(rest.len());
                while !rest.is_char_boundary(end) {
                    end -= 1;
                }
                let (piece, tail) = rest.split_at(end);
                pieces.push(Value::Text(piece));
                rest = tail;
            }
            pieces
        }
    }
}

fn parts(value: &LargeValue, max_bytes: usize) -> usize {
    chunks(&value.content, max_bytes.saturating_sub(300).max(8) / 2).len()
}

/// A text to be sent, and what it carries.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The text.
    pub sql: String,
    /// How many writes it carries, the last of them perhaps in part.
    pub writes: usize,
    /// The number of the last.
    pub last: u64,
    /// The chain it sets: how it is recognised on the replica.
    pub chain: u64,
    /// Values to be staged before it is sent.
    pub large: Vec<LargeValue>,
}

/// Gathers writes into one text.
#[derive(Debug)]
pub struct BatchBuilder {
    replica: u8,
    max_bytes: usize,
    max_writes: usize,
    id: u64,
    /// Statements of the first write that are applied already.
    step: u64,
    /// Of these, how many are still to be stepped over.
    skip: u64,
    /// What comes after the head.
    tail: String,
    writes: usize,
    last: u64,
    large: Vec<LargeValue>,
    full: bool,
}

/// What the head and the last statement need: their text is about 500 bytes and up to 60 for each staged value.
const FRAME_BYTES: usize = 900;

impl BatchBuilder {
    /// One for `replica`, for texts of at most `max_bytes` bytes. Of the first write `step` statements are applied.
    pub fn new(replica: u8, standing: Standing, step: u64, max_bytes: usize, max_writes: usize) -> Self {
        Self {
            replica,
            max_bytes: max_bytes.saturating_sub(FRAME_BYTES),
            max_writes,
            id: standing.id,
            skip: step,
            step,
            tail: String::new(),
            writes: 0,
            last: 0,
            large: Vec::new(),
            full: false,
        }
    }

    /// Adds a write. `false` when it does not fit any more, and when it can only stand alone.
    pub fn add(&mut self, write: &Arc<Write>) -> bool {
        if self.full || self.writes >= self.max_writes {
            return false;
        }
        let before = (self.tail.len(), self.large.len());
        let count = write.statements_for(self.replica).count() as u64;
        if count == 0 {
            // It cannot be sent: whoever settles it must come to it with nothing in front.
            self.full = true;
            return false;
        }
        let first = std::mem::take(&mut self.skip);
        let mut step = first;
        for statement in write.statements_for(self.replica).skip(first as usize) {
            let at = self.tail.len();
            self.push_statement(statement, write.seq, step + 1, step + 1 == count);
            if self.tail.len() > self.max_bytes && step > first {
                self.tail.truncate(at);
                break;
            }
            step += 1;
        }
        let fits = self.tail.len() <= self.max_bytes && step == count;
        if !fits && !self.is_empty() {
            // It does not fit behind the others. Alone it will, or go in parts.
            self.tail.truncate(before.0);
            self.large.truncate(before.1);
            self.full = true;
            return false;
        }
        self.full = !fits;
        self.writes += 1;
        self.last = write.seq;
        true
    }

    fn push_statement(&mut self, statement: &crate::write::SentStatement, seq: u64, step: u64, last: bool) {
        self.tail.push(';');
        self.tail.push_str(&statement.sql);
        let id = self.id;
        // The mark directly follows the statement: anything between would change what `changes()` says.
        let _ = if last && step == 1 {
            write!(self.tail, ";UPDATE {TABLE} SET seq={seq},changes=changes||changes()||';' WHERE id={id}")
        } else if last {
            write!(
                self.tail,
                ";UPDATE {TABLE} SET seq={seq},step=0,changes=changes||changes()||';' WHERE id={id}"
            )
        } else {
            write!(self.tail, ";UPDATE {TABLE} SET step={step},changes=changes||changes()||',' WHERE id={id}")
        };
        if let Some(large) = &statement.large {
            self.large.extend(large.iter().cloned());
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.writes == 0
    }

    /// The text, with a head that expects `standing` and counts everything up to `position` as done.
    pub fn build(self, origin: &str, standing: Standing, position: u64, max_bytes: usize) -> Batch {
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
        for value in &self.large {
            let _ = write!(
                sql,
                " AND EXISTS (SELECT 1 FROM {VALUE_TABLE} WHERE id={} AND parts={})",
                value.id,
                parts(value, max_bytes)
            );
        }
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
        Batch { sql, writes: self.writes, last: self.last, chain, large: self.large }
    }
}
