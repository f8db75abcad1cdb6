//! Values that no text has room for: sent ahead, and named in the statement.

pub(super) mod ahead;
pub(super) mod content;
