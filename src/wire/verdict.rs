//! What an answer means: a pure function, so that every case can be tested without a network.
//!
//! A status code alone does not tell a permanent error from a passing one: StarbaseDB answers 500 for both
//! and 400 for what its platform throws. The body does.

use std::time::Duration;

use super::reply::Row;
use crate::write::Reason;

/// What to do after a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The text ran to its end; these are the rows of its last statement.
    Delivered(Vec<Row>),
    /// It may or may not have run; ask, and try again.
    Retry {
        /// The least time to wait, where the answer names one.
        after: Option<Duration>,
        /// Why.
        reason: Reason,
    },
    /// A statement of it will fail however often it is tried.
    Reject {
        /// Why.
        reason: Reason,
    },
}

/// A request that got no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError {
    /// Whether time ran out, as opposed to a broken connection.
    pub timeout: bool,
    /// What happened, without the address and without headers.
    pub message: String,
}
