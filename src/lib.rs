//! afterquery: after each SQL statement an application ran on its own database, its writes
//! reach peer databases over HTTP, in order and exactly once in effect.
//!
//! The floors, in the order of a write's life; each stands on those above it in this list, and none reaches down it:
//! - [`ground`]: what all stand on: errors, panics, forks, quoting.
//! - [`sql`]: from the text to what it does, where it goes and what is sent.
//! - [`mod@write`]: the unit of replication, and what became of it.
//! - [`journal`]: numbers it and keeps it until every replica has an outcome, in memory or on disk.
//! - [`wire`]: the texts that a replica is sent, and what its answers mean.
//! - [`config`]: the settings.
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
