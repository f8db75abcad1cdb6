//! The whole: takes writes in, runs a task for each replica, and ends everything within a deadline.

mod closing;
mod engine;
mod replay;

pub use self::engine::{Engine, LOOK_AGAIN};
