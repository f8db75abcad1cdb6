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

use std::{collections::BTreeMap, fmt::Write as _};

use crate::sql::{LargeContent, LargeValue, VALUE_TABLE, Value, literal_len, push_literal};

pub(super) const TABLE: &str = "tmp_afterquery_watermark";

/// Seconds after which the row of an origin without a durable journal may be removed by another origin: the
/// process is long gone, since a living one refreshes its row daily. 30 days.
pub const ORPHAN_SECONDS: u64 = 30 * 86_400;

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

/// The texts that put the values on the replica that are short enough to share one, with their keys.
pub fn stage_small(origin: &str, values: &[&LargeValue], max_bytes: usize) -> Vec<(Vec<u64>, String)> {
    let room = max_bytes.saturating_sub(300) / 2;
    let mut texts: Vec<(Vec<u64>, String)> = Vec::new();
    for value in values {
        let length = literal_len(value.content.value());
        if length > room {
            continue;
        }
        let start = format!("({},'{origin}',1,", value.id);
        let (ids, sql) = match texts.last_mut() {
            Some((ids, sql)) if sql.len() + start.len() + length + 2 <= max_bytes => {
                sql.push(',');
                (ids, sql)
            }
            _ => {
                let head = format!("INSERT OR IGNORE INTO {VALUE_TABLE} (id,origin,parts,v) VALUES ");
                texts.push((Vec::new(), head));
                let Some((ids, sql)) = texts.last_mut() else { return texts };
                (ids, sql)
            }
        };
        ids.push(value.id);
        sql.push_str(&start);
        push_literal(sql, value.content.value());
        sql.push(')');
    }
    texts
}

/// What a head says to make sure that all these values are there, whole. One question for all: each of a hundred would
/// nest an expression deeper than StarbaseDB allows.
pub(super) fn large_is_there(values: &[LargeValue], max_bytes: usize) -> String {
    let mut by_parts = BTreeMap::<usize, Vec<String>>::new();
    for value in values {
        by_parts.entry(parts(value, max_bytes)).or_default().push(value.id.to_string());
    }
    let mut sql = String::new();
    for (parts, ids) in by_parts {
        let (count, ids) = (ids.len(), ids.join(","));
        let _ = write!(
            sql,
            " AND (SELECT count(*) FROM {VALUE_TABLE} WHERE parts={parts} AND id IN ({ids}))={count}"
        );
    }
    sql
}

/// Removes whatever was staged for this origin.
pub fn drop_all_large(origin: &str) -> String {
    format!("DELETE FROM {VALUE_TABLE} WHERE origin='{origin}'")
}

/// Removes staged values whose statement will not come.
pub fn drop_large(ids: impl IntoIterator<Item = u64>) -> String {
    let ids: Vec<_> = ids.into_iter().map(|id| id.to_string()).collect();
    format!("DELETE FROM {VALUE_TABLE} WHERE id IN ({})", ids.join(","))
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

/// How many pieces a value is staged in.
fn parts(value: &LargeValue, max_bytes: usize) -> usize {
    chunks(&value.content, max_bytes.saturating_sub(300).max(8) / 2).len()
}
