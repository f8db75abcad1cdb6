//! The ordered store of writes that are not settled everywhere.
//!
//! Reading never removes anything; acknowledging does, and doing it twice is harmless.

mod memory;

pub use memory::{Limits, MemoryJournal, Pending, replicas_in};
