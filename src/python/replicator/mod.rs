//! The replicator, its transactions and its handles.

pub(super) mod replication;
pub(super) mod replicator;
pub(super) mod transaction;
