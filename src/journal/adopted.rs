//! Journals of dead processes, as one look found them.

use super::source::Source;
use crate::{
    ground::event::Level,
    journal::file::{disk::Disk, told::letters_left},
};

/// How many journals of dead processes are delivered at a time: each holds a descriptor, and up to four while it is at work.
/// The others wait until one is done.
pub const MAX_ADOPTED: usize = 64;

/// Journals of dead processes.
#[derive(Default)]
pub struct Adopted {
    /// Those that were taken over, the oldest first.
    pub sources: Vec<Source>,
    /// How many wait until there is room for them.
    pub waiting: usize,
    /// How many are left as they are, because they cannot be delivered.
    pub damaged: usize,
    /// What the user has to be told.
    pub told: Vec<(Level, String)>,
    /// Which journals are of processes that did not end as they should.
    pub unclean: Vec<String>,
}

impl Adopted {
    /// Has all rejected writes of all replicas in one place.
    pub fn move_letters(&mut self, to: &Disk) {
        for from in self.sources.iter().filter_map(|source| source.journal.disk()) {
            if let Err(error) = from.move_letters(to) {
                self.told.push((Level::Error, letters_left(from.path(), &error)));
            }
        }
    }

    pub(super) fn tell(&mut self, level: Level, message: String) {
        self.told.push((level, message));
    }
}
