//! Rejected writes, kept with their reason.

use std::time::SystemTime;

use crate::write::{Body, Reason};

/// Which write on which replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LetterKey {
    /// The replica's name.
    pub replica: String,
    /// Who numbered the write.
    pub origin: String,
    /// Its number.
    pub seq: u64,
}

/// A rejected write, kept with its reason. Its statements are those that were for the replica.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Which write on which replica.
    pub key: LetterKey,
    /// Why it was rejected.
    pub reason: Reason,
    /// How many requests carried it.
    pub attempts: u32,
    /// When it was rejected.
    pub time: SystemTime,
    /// The rows it changed on the primary, where the driver told.
    pub expected: Option<i64>,
    /// What it does.
    pub body: Body,
}
