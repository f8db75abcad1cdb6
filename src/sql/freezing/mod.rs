//! What would differ on a replica, as the literal that it is on the primary.

pub(super) mod column_names;
pub(super) mod differing;
pub(super) mod freeze;
pub(super) mod instant;
pub(super) mod occurrence;
