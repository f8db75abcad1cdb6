//! Settings as Python gives them.

pub(super) mod config;
pub(super) mod journal;
pub(super) mod replicator;
