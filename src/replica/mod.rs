//! One replica's delivery: a task that reads the journal in order, sends, judges and settles.

mod backoff;
mod delivery;
mod proof;
mod settle;
mod status;
mod stop;
mod task;

pub use backoff::{Backoff, Breaker};
pub use status::{Activity, Resuming, Status};
pub use task::{Command, Task};
