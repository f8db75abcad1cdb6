//! The rejected writes of all journals that are in hand.

use std::sync::atomic::Ordering;

use super::shared::Shared;
use crate::{
    ground::{error::Error, event::Level},
    journal::{Cursor, DeadLetter, LetterKey, Source, letters_left},
};

impl Shared {
    /// Keeps a rejected write, and with it how far its replica is then.
    pub fn bury(&self, source: &Source, letter: DeadLetter, replica: u8, cursor: &Cursor) {
        let max = self.config.max_dead_letters;
        let dropped = match source.journal.disk() {
            Some(disk) => {
                disk.bury(letter, replica, cursor);
                disk.drop_letters(max)
            }
            None => self.letters.push(letter, max),
        };
        if dropped > 0 && self.dead_dropped.fetch_add(dropped as u64, Ordering::Relaxed) == 0 {
            self.log(
                Level::Error,
                format!(
                    "more than max_dead_letters={max} rejected writes are kept: the oldest are dropped from now on, and \
                     only counted"
                ),
            );
        }
    }

    /// The rejected writes that are kept, oldest first.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        let Some(own) = self.own.journal.disk() else { return Ok(self.letters.all()) };
        if let Err(error) = self.gather_letters() {
            self.log(Level::Error, error.to_string());
        }
        own.letters().map_err(|error| own.error(&error))
    }

    /// Moves all rejected writes to this process's own file. Nothing may be done with them before that has worked: what
    /// stays in another file would come back.
    pub fn gather_letters(&self) -> Result<(), Error> {
        let Some(own) = self.own.journal.disk() else { return Ok(()) };
        for disk in self.adopted().iter().filter_map(|source| source.journal.disk()) {
            let moved = disk.move_letters(own);
            moved.map_err(|error| Error::Journal {
                path: disk.path().display().to_string(),
                problem: letters_left(disk.path(), &error),
            })?;
        }
        Ok(())
    }

    /// Forgets the rejected writes of a replica that was synced from a copy of the primary: they are in the copy.
    pub fn forget_letters(&self, replica: u8) {
        let name = self.name(replica);
        self.letters.remove_of(name);
        for source in self.sources() {
            if let Some(disk) = source.journal.disk() {
                disk.forget_letters(name);
            }
        }
    }

    /// Forgets rejected writes. How many of them were there.
    pub fn discard(&self, keys: &[LetterKey]) -> Result<usize, Error> {
        self.gather_letters()?;
        match self.own.journal.disk() {
            Some(own) => own.discard(keys).map_err(|error| own.error(&error)),
            None => Ok(self.letters.remove(keys)),
        }
    }
}
