//! What can be seen of a replica from outside.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::backoff::Breaker;
use crate::{journal::Stop, write::Reason};

/// What a replica's task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activity {
    /// It has not yet had a first answer.
    #[default]
    Connecting,
    /// It delivers.
    Live,
    /// It waits after a failure.
    Retrying,
    /// It stopped at a rejected write.
    Halted,
    /// It fell too far behind and gets nothing more.
    Detached,
    /// Its watermark is not what we left: it gets nothing more.
    Diverged,
    /// The replicator is closed.
    Closed,
}

impl Activity {
    /// Its name in `stats()`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Retrying => "retrying",
            Self::Halted => "halted",
            Self::Detached => Stop::Detached.as_str(),
            Self::Diverged => Stop::Diverged.as_str(),
            Self::Closed => "closed",
        }
    }

    /// What of it the next process has to know.
    pub fn stop(self) -> Option<Stop> {
        match self {
            Self::Detached => Some(Stop::Detached),
            Self::Diverged => Some(Stop::Diverged),
            Self::Connecting | Self::Live | Self::Retrying | Self::Halted | Self::Closed => None,
        }
    }

    /// Whether the task tries to deliver.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Connecting | Self::Live | Self::Retrying)
    }
}

impl From<Stop> for Activity {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Detached => Self::Detached,
            Stop::Diverged => Self::Diverged,
        }
    }
}

/// A replica's counters and condition.
#[derive(Debug, Default)]
pub struct Status {
    /// Writes applied.
    pub fulfilled: AtomicU64,
    /// Writes given up.
    pub rejected: AtomicU64,
    /// Requests sent.
    pub requests: AtomicU64,
    /// Failed requests that were or will be tried again.
    pub retries: AtomicU64,
    /// Writes that changed another number of rows than on the primary.
    pub changes_differ: AtomicU64,
    /// The number of the last write with an outcome before which all have one.
    pub acknowledged: AtomicU64,
    /// Whether it is known to differ from the primary.
    pub diverged: AtomicBool,
    condition: Mutex<Condition>,
    /// How the newest texts are recognised that were sent there.
    chains: Mutex<VecDeque<u64>>,
}

/// How many of them are known.
const CHAINS: usize = 16;

/// What a replica is doing and why.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// What it is doing.
    pub activity: Activity,
    /// Whether it is taken to be up.
    pub breaker: Breaker,
    /// The last thing that went wrong, while it matters.
    pub reason: Option<Reason>,
    /// What the user has asked for, and the task has not done yet.
    pub resuming: Option<Resuming>,
}

/// How a replica is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resuming {
    /// It was detached or had diverged, and was synced from a copy of the primary: the last write that is in the copy.
    Copied(u64),
    /// It halted: the rejected write is tried again.
    Again,
    /// It halted, or a write does not get through: that write is given up.
    Skip,
}

impl Status {
    /// What it is doing and why.
    pub fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what it is doing and why.
    pub fn update<T>(&self, change: impl FnOnce(&mut Condition) -> T) -> T {
        change(&mut self.condition.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a text is sent.
    pub fn sends(&self, chain: u64) {
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        chains.truncate(CHAINS - 1);
        chains.push_front(chain);
    }

    /// Whether a text was sent there lately.
    pub fn has_sent(&self, chain: u64) -> bool {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner).contains(&chain)
    }

    /// Adds to a counter.
    pub fn count(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
