//! One replica's delivery: a task that reads the journal in order, sends, judges and settles.

mod adoption;
mod backoff;
mod delivery;
mod proof;
mod settle;
pub mod shared;
mod status;
mod stop;
mod task;

pub use self::{
    adoption::Adoption,
    backoff::{Backoff, Breaker},
    shared::Shared,
    status::{Activity, Resuming, Status},
    task::{Command, Task},
};
