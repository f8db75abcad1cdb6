//! How far a replica is, as its watermark row says.

use serde::{Deserialize, Serialize};

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

impl Standing {
    /// Whether no text has moved the row yet.
    pub fn is_new(&self) -> bool {
        (self.seq, self.step, self.chain) == (0, 0, 0)
    }
}
