//! What is done with a text: where each statement goes, what is sent of it, and the plans that are kept.

pub(super) mod cache;
pub(super) mod plan;
pub(super) mod template;
