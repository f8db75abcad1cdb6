//! What is known without the disk: the queue of writes, how far each replica is, and what was rejected.

pub(super) mod cursor;
pub(super) mod letter;
pub(super) mod letters;
pub(super) mod limits;
pub(super) mod queue;
