//! What the caller's threads and the replicas' tasks share.

pub(super) mod adopting;
pub(super) mod adoption;
pub(super) mod backoff;
pub(super) mod command;
pub(super) mod letters;
pub(super) mod shared;
pub(super) mod status;
pub(super) mod waking;
