//! What Python sees of texts, outcomes and statistics: values that do not change.

pub(super) mod classification;
pub(super) mod integrations;
pub(super) mod shown;
pub(super) mod views;
