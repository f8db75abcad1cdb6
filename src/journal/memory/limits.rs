//! How much may be pending.

use crate::write::Write;

/// How much may be pending before something gives way. What gives way is always the replica that is
/// furthest behind, never the caller and never a replica that keeps up.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Writes in the journal.
    pub max_pending_writes: usize,
    /// Bytes in the journal.
    pub max_pending_bytes: usize,
    /// Bytes that a replica has still to get from the journal's file.
    pub max_journal_bytes: usize,
    /// For each replica, the writes and the bytes it may be behind.
    pub max_lag: Vec<Pending>,
}

/// An amount of pending work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    /// Writes.
    pub writes: usize,
    /// Bytes.
    pub bytes: usize,
}

impl std::ops::Add for Pending {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { writes: self.writes + other.writes, bytes: self.bytes + other.bytes }
    }
}

impl Pending {
    pub(super) fn count(&mut self, write: &Write) {
        self.writes += 1;
        self.bytes += write.bytes();
    }

    pub(super) fn remove(&mut self, write: &Write) {
        // What is in a file was counted by another process; a count must not be able to stop this one.
        self.writes = self.writes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(write.bytes());
    }

    pub(super) fn exceeds(self, limit: Self) -> bool {
        self.writes > limit.writes || self.bytes > limit.bytes
    }
}
