//! How long the texts for a replica may be.

use super::sizes::{FRAME_BYTES, MARK_BYTES, MAX_SQL_BYTES, MAX_TEXT_BYTES};

/// How much SQL a replica takes in one text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For several writes.
    pub gathered: usize,
    /// For one that is alone.
    pub alone: usize,
}

impl Limits {
    /// Those of a replica that takes texts of `bytes` bytes. It is not believed to take less than StarbaseDB, nor more than
    /// [`MAX_TEXT_BYTES`].
    pub fn of(bytes: usize) -> Self {
        Self { gathered: MAX_SQL_BYTES, alone: bytes.clamp(MAX_SQL_BYTES, MAX_TEXT_BYTES) }
    }

    /// What is left of each for statements.
    pub(super) fn rooms(self) -> (usize, usize) {
        let room = |bytes: usize| bytes.saturating_sub(FRAME_BYTES + MARK_BYTES);
        (room(self.gathered), room(self.alone))
    }

    /// Whether a write may be put into a longer text than the others.
    pub(super) fn is_wide(self) -> bool {
        self.alone > self.gathered
    }
}
