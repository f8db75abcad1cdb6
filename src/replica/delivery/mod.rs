//! What is known of a replica, and what its row proves: the state of a delivery, which does not know the task.

pub(super) mod delivery;
pub(super) mod proof;
pub(super) mod rows;
