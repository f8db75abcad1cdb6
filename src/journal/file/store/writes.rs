//! The writes in a journal's file.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, params};

use super::{Store, opening::now};
use crate::{
    journal::{
        file::{
            body,
            error::{Result, StoreError, damaged},
            sum::sum_of,
        },
        memory::{
            cursor::{Cursor, NOTHING_MORE},
            letter::LetterKey,
        },
    },
    sql::ReplicaSet,
    write::{Body, Moment, Write},
};

impl Store {
    /// Appends writes, removes the dead letters they replay, and keeps how far replicas are.
    pub fn insert<'a>(
        &mut self,
        writes: impl ExactSizeIterator<Item = &'a Write> + Clone,
        replayed: &[LetterKey],
        cursors: impl ExactSizeIterator<Item = (u8, &'a Cursor)>,
    ) -> Result<()> {
        let is_alone = writes.len() == 1 && replayed.is_empty() && cursors.len() == 0;
        if is_alone && writes.clone().all(|write| self.fits(write)) {
            // One statement is a transaction by itself, and cheaper so.
            return self.insert_rows(writes);
        }
        self.grow(|store| {
            store.insert_rows(writes)?;
            store.delete_letters(replayed)?;
            store.save_cursors(cursors)
        })
    }

    fn fits(&self, write: &Write) -> bool {
        body::plain(&write.body, write.body.targets()).is_some_and(|sql| self.room.fits(sql.len()))
    }

    fn insert_rows<'a>(&self, writes: impl IntoIterator<Item = &'a Write>) -> Result<()> {
        let sql = "INSERT INTO writes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let mut statement = self.connection.prepare_cached(sql)?;
        for write in writes {
            let json;
            let (many, text) = match body::plain(&write.body, write.body.targets()) {
                Some(sql) => (false, sql),
                None => {
                    json = body::to_json(&write.body, |set| self.to_file(set));
                    (true, json.as_str())
                }
            };
            let (seq, targets) = (write.seq as i64, self.to_file(write.body.targets()) as i64);
            statement.execute(params![
                seq,
                write.bytes() as i64,
                targets,
                write.expected(),
                now() - write.submitted.elapsed().as_secs_f64(),
                many,
                sum_of(&[seq, targets, write.expected().unwrap_or(-1), i64::from(many)], text),
                text,
            ])?;
        }
        Ok(())
    }

    /// The writes after number `after` and before number `before`, at most `count`, up to a gap or a damaged one. It fails
    /// where that is the first. `open` are the replicas that a write of a number is still open for.
    pub fn load(
        &self,
        after: u64,
        before: u64,
        count: usize,
        open: impl Fn(u64) -> ReplicaSet,
    ) -> Result<Vec<Write>> {
        let sql = "SELECT seq, bytes, targets, expected, submitted, many, sum, body FROM writes \
                   WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![after as i64, before as i64, count as i64])?;
        let mut writes = Vec::new();
        let mut expected = after + 1;
        let result = loop {
            match rows.next() {
                Ok(Some(row)) => match self.read_write(row, &open) {
                    Ok(write) if write.seq == expected => writes.push(write),
                    Ok(write) => break Err(missing(expected, write.seq - 1)),
                    Err(error) => break Err(error),
                },
                Ok(None) => break Err(missing(expected, before - 1)),
                Err(error) => break Err(error.into()),
            }
            expected += 1;
            if expected == before || writes.len() == count {
                break Ok(());
            }
        };
        // What is in front of the damage is good.
        if writes.is_empty() { result.map(|()| writes) } else { Ok(writes) }
    }

    fn read_write(&self, row: &Row<'_>, open: impl Fn(u64) -> ReplicaSet) -> Result<Write> {
        let seq = row.get::<_, i64>(0)? as u64;
        let in_file = row.get::<_, i64>(2).map_err(|_| damaged(seq))?;
        let targets = self.to_here(in_file as u64);
        let text = row.get_ref(7)?.as_str().map_err(|_| damaged(seq))?;
        let expected: Option<i64> = row.get(3).map_err(|_| damaged(seq))?;
        let many: bool = row.get(5).map_err(|_| damaged(seq))?;
        let sum = sum_of(&[seq as i64, in_file, expected.unwrap_or(-1), i64::from(many)], text);
        if row.get(6) != Ok(sum) {
            return Err(damaged(seq));
        }
        let body = if many {
            let mut body = body::from_json(text, |set| self.to_here(set)).ok_or_else(|| damaged(seq))?;
            if matches!(body, Body::Unsendable(_)) {
                body.retarget(targets);
            }
            body
        } else {
            body::from_plain(text, targets)
        };
        let bytes = row.get::<_, i64>(1)? as usize;
        Ok(Write::new(seq, moment(row.get(4)?), body, expected, bytes, targets & open(seq)))
    }

    /// The number of the newest write for replica number `index`.
    pub fn newest_for(&self, index: usize) -> Result<Option<u64>> {
        let Some(bit) = self.bits[index] else { return Ok(None) };
        let sql = "SELECT seq FROM writes WHERE targets & (1 << ?1) ORDER BY seq DESC LIMIT 1";
        let seq = self.connection.prepare_cached(sql)?.query_row([bit], |row| row.get::<_, i64>(0));
        Ok(seq.optional()?.map(|seq| seq as u64))
    }

    /// When the first write after number `position` was handed over that is for replica number `index`.
    pub fn oldest_for(&self, index: usize, position: u64) -> Result<Option<Moment>> {
        let Some(bit) = self.bits[index] else { return Ok(None) };
        let sql = "SELECT submitted FROM writes WHERE seq > ?2 AND targets & (1 << ?1) ORDER BY seq LIMIT 1";
        let params = params![bit, position.min(NOTHING_MORE) as i64];
        let at = self.connection.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?;
        Ok(at.map(moment))
    }

    /// Removes up to `count` writes that every replica is past. How many there were, and the number of the last that is
    /// gone.
    pub fn collect(&mut self, count: usize) -> Result<(usize, u64)> {
        self.begin()?;
        let result = self.collect_rows(count);
        self.end(result)
    }

    fn collect_rows(&self, count: usize) -> Result<(usize, u64)> {
        // The last number has to outlive its row: numbers are never given twice.
        let last = self.last()?;
        self.connection
            .prepare_cached("UPDATE origin SET last = ?1 WHERE last < ?1")?
            .execute([last as i64])?;
        let sql = "DELETE FROM writes WHERE seq <= (SELECT min(position) FROM replicas) \
                   AND seq < (SELECT min(seq) FROM writes) + ?1";
        let removed = self.connection.prepare_cached(sql)?.execute([count as i64])?;
        let first: Option<i64> =
            self.connection.prepare_cached("SELECT min(seq) FROM writes")?.query_row([], |row| row.get(0))?;
        Ok((removed, first.map_or(last, |first| first as u64 - 1)))
    }
}

fn missing(first: u64, last: u64) -> StoreError {
    StoreError::Damaged(format!("writes {first} to {last} are missing from it"))
}

/// A time of day as a moment of this process. One in the future, after a clock was set back, is now.
fn moment(seconds: f64) -> Moment {
    Moment::ago(Duration::try_from_secs_f64(now() - seconds).unwrap_or_default())
}
