//! What Python sees of texts, outcomes and statistics: values that do not change.

pub(super) mod classification;
pub(super) mod explanation;
pub(super) mod integrations;
pub(super) mod letter;
pub(super) mod outcome;
pub(super) mod shown;
pub(super) mod stats;
