//! The task that delivers to one replica: asks, sends, doubts, settles and rejects.

pub(super) mod asking;
pub(super) mod doubting;
pub(super) mod rejecting;
pub(super) mod sending;
pub(super) mod settling;
pub(super) mod sources;
pub(super) mod stepping;
pub(super) mod stopping;
pub(super) mod suspecting;
pub(super) mod task;
