//! The replicator, its transactions and its handles.

pub(super) mod methods;
pub(super) mod replication;
pub(super) mod replicator;
pub(super) mod transaction;
