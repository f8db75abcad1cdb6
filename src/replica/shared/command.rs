//! What a replica's task is told.

use std::sync::Arc;

use crate::journal::Source;

/// What a task is told.
#[derive(Debug, Clone)]
pub enum Command {
    /// Its replica is too far behind.
    Detach,
    /// Go on, as [`super::Resuming`] says.
    Resume,
    /// A process has died and left this to be delivered.
    Adopt(Arc<Source>),
    /// Everything is settled or out of time: leave the replica tidy and end.
    Finish,
}
