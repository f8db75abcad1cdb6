//! One origin's writes, to be delivered: this process's own, or those a dead process left.

use std::sync::atomic::{AtomicU64, Ordering};

use super::journal::Journal;
use crate::{
    journal::{file::disk::Disk, memory::cursor::Cursor},
    sql::ReplicaSet,
};

/// An origin and its journal.
#[derive(Debug)]
pub struct Source {
    /// Who numbered the writes.
    pub origin: String,
    /// The writes.
    pub journal: Journal,
    /// How far each replica was when the journal was opened.
    pub cursors: Vec<Cursor>,
    /// When it was made, in seconds since 1970; 0 for this process's own.
    pub created: f64,
    /// The replicas that need nothing of it any more.
    finished: AtomicU64,
}

impl Source {
    /// A source whose replicas are as far as `cursors` say.
    pub fn new(origin: String, journal: Journal, cursors: Vec<Cursor>) -> Self {
        Self { origin, journal, cursors, created: 0.0, finished: AtomicU64::new(0) }
    }

    /// Whether its writes survive the process.
    pub fn is_durable(&self) -> bool {
        self.journal.disk().is_some()
    }

    /// Whether its origin was named by the user, who may go on with it.
    pub fn is_named(&self) -> bool {
        self.journal.disk().is_some_and(Disk::is_named)
    }

    /// Notes that `replica` needs nothing of it any more. `true` for the last of `all`: its file is not needed either.
    pub fn finish(&self, replica: u8, all: ReplicaSet) -> bool {
        let bit = 1 << replica;
        let before = self.finished.fetch_or(bit, Ordering::AcqRel);
        before & bit == 0 && (before | bit) == all
    }

    /// Whether `replica` needs nothing of it any more.
    pub fn is_finished(&self, replica: u8) -> bool {
        self.finished.load(Ordering::Acquire) & (1 << replica) != 0
    }

    /// What is wrong with its file.
    pub fn problem(&self) -> Option<String> {
        self.journal.disk().and_then(Disk::problem).map(|problem| problem.to_string())
    }
}
