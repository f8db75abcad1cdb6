//! How far each replica is, in a journal's file.

use rusqlite::params;

use super::Store;
use crate::journal::{
    file::{
        error::{Result, StoreError},
        sum::sum_of,
    },
    memory::cursor::{Cursor, NOTHING_MORE, State},
};

impl Store {
    pub(super) fn save_cursors<'a>(&self, cursors: impl IntoIterator<Item = (u8, &'a Cursor)>) -> Result<()> {
        cursors.into_iter().try_for_each(|(index, cursor)| {
            self.save_index(usize::from(index), cursor.position, &state_of(cursor))
        })
    }

    pub(super) fn cursor(&self, index: usize) -> Result<Cursor> {
        let Some(bit) = self.bits[index] else {
            let state = State { finished: true, ..State::default() };
            return Ok(Cursor { position: self.last()?, state });
        };
        self.cursor_of_bit(bit)
    }

    pub(super) fn cursor_of_bit(&self, bit: u8) -> Result<Cursor> {
        let sql = "SELECT position, state, sum FROM replicas WHERE bit = ?1";
        let (position, state, sum): (i64, String, u32) = self
            .connection
            .prepare_cached(sql)?
            .query_row([bit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if sum != sum_of(&[position], &state) {
            return Err(StoreError::Damaged("how far a replica is has changed in it".into()));
        }
        let state = serde_json::from_str::<State>(&state)
            .map_err(|error| StoreError::Damaged(format!("how far a replica is cannot be read: {error}")))?;
        Ok(Cursor { position: position as u64, state })
    }

    /// Keeps how far a replica is.
    pub fn save_cursor(&self, index: usize, cursor: &Cursor) -> Result<()> {
        let state = state_of(cursor);
        if self.room.fits(state.len()) {
            return self.save_index(index, cursor.position, &state);
        }
        self.grow(|store| store.save_index(index, cursor.position, &state))
    }

    pub(super) fn save_index(&self, index: usize, position: u64, state: &str) -> Result<()> {
        self.bits[index].map_or(Ok(()), |bit| self.save_bit(bit, position, state))
    }

    pub(super) fn save_bit(&self, bit: u8, position: u64, state: &str) -> Result<()> {
        let sql = "UPDATE replicas SET position = ?2, state = ?3, sum = ?4 WHERE bit = ?1";
        let position = position.min(NOTHING_MORE) as i64;
        let sum = sum_of(&[position], state);
        self.connection.prepare_cached(sql)?.execute(params![bit, position, state, sum])?;
        Ok(())
    }
}

pub(super) fn state_of(cursor: &Cursor) -> String {
    serde_json::to_string(&cursor.state).unwrap_or_default()
}
