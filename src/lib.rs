//! afterquery: after each SQL statement an application ran on its own database, its writes
//! reach peer databases over HTTP, in order and exactly once in effect.
//!
//! The floors of the house, in the order of a write's life from the bottom up. Each stands on those below it, and nothing
//! points back up; behind a floor are its rooms, each of which stands on those before it.
//!
//! ```text
//! python (process, settings, given, views, replicator)
//! engine
//! replica (shared, delivery, task)
//! config
//! journal (memory, file) | wire
//! write
//! sql (text, determinism, meaning, freezing, large, rows, plan)
//! ground
//! ```
//!
//! - [`ground`]: what all stand on: errors, panics, forks, log lines, quoting.
//! - [`sql`]: from the text to what it does, where it goes and what is sent.
//! - [`mod@write`]: the unit of replication, and what became of it.
//! - [`journal`]: numbers it and keeps it until every replica has an outcome, in memory or on disk.
//! - [`wire`]: the texts that a replica is sent, and what its answers mean.
//! - [`config`]: the settings, checked.
//! - [`replica`]: one task each, which sends batches and judges the answers.
//! - [`engine`]: takes writes in, and ends everything within a deadline.
//!
//! Nothing here knows Python; that is in `python`, behind a feature of the same name.

pub mod config;
pub mod engine;
pub mod ground;
pub mod journal;
#[cfg(feature = "python")]
mod python;
pub mod replica;
pub mod sql;
pub mod wire;
pub mod write;
