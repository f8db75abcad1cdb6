//! What is done with a text: where each statement goes, what is sent of it, and the plans that are kept.

pub(super) mod cache;
pub(super) mod plan;
pub(super) mod replicas;
pub(super) mod rules;
pub(super) mod skip;
pub(super) mod template;
