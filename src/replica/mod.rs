//! One replica's delivery: a task that reads the journal in order, sends, judges and settles.
//!
//! - `shared`: what the caller's threads and the tasks share.
//! - `delivery`: what is known of a replica.
//! - `task`: the work.

mod delivery;
mod shared;
mod task;

pub use self::{
    shared::{
        adoption::Adoption,
        backoff::{Backoff, Breaker},
        command::Command,
        shared::Shared,
        status::{Activity, Resuming, Status},
    },
    task::task::Task,
};
