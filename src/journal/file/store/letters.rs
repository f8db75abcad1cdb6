//! The rejected writes in a journal's file.

use std::time::{Duration, UNIX_EPOCH};

use rusqlite::{Row, params};

use super::{Store, cursors::state_of};
use crate::{
    journal::{
        file::{
            body,
            error::{Result, damaged},
        },
        memory::{
            cursor::Cursor,
            letter::{DeadLetter, LetterKey},
        },
    },
    write::{Reason, ReasonCode},
};

impl Store {
    /// Keeps a rejected write, together with how far its replica is then.
    pub fn bury(&mut self, letter: &DeadLetter, index: usize, cursor: &Cursor) -> Result<()> {
        self.grow(|store| {
            store.insert_letter(letter)?;
            store.save_index(index, cursor.position, &state_of(cursor))
        })
    }

    fn insert_letter(&self, letter: &DeadLetter) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO dead_letters \
                   (replica, origin, seq, code, message, attempts, time, expected, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let DeadLetter { key, reason, attempts, time, expected, body } = letter;
        self.connection.prepare_cached(sql)?.execute(params![
            key.replica,
            key.origin,
            key.seq as i64,
            reason.code.as_str(),
            &*reason.message,
            attempts,
            time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            expected,
            body::to_json(body, |_| 0),
        ])?;
        Ok(())
    }

    /// Takes over dead letters of another journal. Those it has already stay as they are.
    pub fn insert_letters(&mut self, letters: &[DeadLetter]) -> Result<()> {
        self.grow(|store| letters.iter().try_for_each(|letter| store.insert_letter(letter)))
    }

    /// The dead letters, oldest first.
    pub fn letters(&self) -> Result<Vec<DeadLetter>> {
        let sql = "SELECT replica, origin, seq, code, message, attempts, time, expected, body \
                   FROM dead_letters ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut letters = Vec::new();
        while let Some(row) = rows.next()? {
            letters.push(read_letter(row)?);
        }
        Ok(letters)
    }

    /// Whether there are dead letters.
    pub fn has_letters(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM dead_letters)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Removes the dead letters of a replica that was synced from a copy of the primary: what it rejected is in the copy.
    pub fn delete_letters_of(&self, replica: &str) -> Result<usize> {
        let sql = "DELETE FROM dead_letters WHERE replica = ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([replica])?)
    }

    /// Removes dead letters. How many of them were there.
    pub fn delete_letters(&self, keys: &[LetterKey]) -> Result<usize> {
        let sql = "DELETE FROM dead_letters WHERE replica = ?1 AND origin = ?2 AND seq = ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut count = 0;
        for key in keys {
            count += statement.execute(params![key.replica, key.origin, key.seq as i64])?;
        }
        Ok(count)
    }

    /// Removes the oldest dead letters beyond `max`. How many there were.
    pub fn drop_letters(&self, max: usize) -> Result<usize> {
        let sql = "DELETE FROM dead_letters WHERE id <= (SELECT id FROM dead_letters ORDER BY id DESC LIMIT 1 OFFSET ?1)";
        Ok(self.connection.prepare_cached(sql)?.execute([max as i64])?)
    }
}

fn read_letter(row: &Row<'_>) -> Result<DeadLetter> {
    let seq = row.get::<_, i64>(2)? as u64;
    let code = ReasonCode::named(&row.get::<_, String>(3)?).ok_or_else(|| damaged(seq))?;
    let body = body::from_json(row.get_ref(8)?.as_str().map_err(|_| damaged(seq))?, |_| 0);
    Ok(DeadLetter {
        key: LetterKey { replica: row.get(0)?, origin: row.get(1)?, seq },
        reason: Reason::new(code, row.get::<_, String>(4)?),
        attempts: row.get(5)?,
        time: UNIX_EPOCH + Duration::try_from_secs_f64(row.get(6)?).unwrap_or_default(),
        expected: row.get(7)?,
        body: body.ok_or_else(|| damaged(seq))?,
    })
}
