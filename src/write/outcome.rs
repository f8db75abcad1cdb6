//! What became of a write on each replica, with the semantics of `Promise.allSettled`.

use std::time::Duration;

use super::reason::Reason;

/// What became of one write on one replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The replica's index.
    pub replica: u8,
    /// Applied there, or given up with a reason.
    pub status: Status,
    /// How many requests carried the write there.
    pub attempts: u32,
    /// From the hand-over to the outcome.
    pub latency: Duration,
}

/// How a write ended on one replica.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// It is applied.
    Fulfilled {
        /// The rows that SQLite's `changes()` counted there; unknown when only the watermark told.
        changes: Option<i64>,
        /// The rows the primary counted, where they differ.
        differs_from: Option<i64>,
    },
    /// It is not applied and will not be.
    Rejected(Reason),
}
