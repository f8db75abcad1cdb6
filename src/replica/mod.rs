//! One replica's delivery: a task that reads the journal in order, sends, judges and settles.

mod backoff;
mod delivery;
mod status;
mod task;

pub use backoff::{Backoff, Breaker};
pub use status::{Activity, DeadLetter, Status};
pub use task::{Command, Task};
