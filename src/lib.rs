//! afterquery: after each SQL statement an application ran on its own database, its writes
//! reach peer databases over HTTP, in order and exactly once in effect.
//!
//! The way of a write:
//! - [`sql`]: from the text to what it does, where it goes and what is sent.
//! - [`engine`]: takes it in, and ends everything within a deadline.
//! - [`journal`]: numbers it and keeps it until every replica has an [`outcome`], in memory or on disk.
//! - [`source`]: one origin's writes, this process's own or those a dead one left.
//! - [`replica`]: one task each, which sends batches and judges the answers.
//! - [`wire`]: the texts and what the answers mean.
//!
//! Nothing here knows Python; that is in `python`, behind a feature of the same name.

mod adoption;
mod closing;
pub mod config;
pub mod engine;
pub mod error;
pub mod fork;
pub mod journal;
pub mod moment;
pub mod outcome;
pub mod panics;
#[cfg(feature = "python")]
mod python;
pub mod quoted;
pub mod reason;
pub mod render;
mod replay;
pub mod replica;
pub mod shared;
pub mod source;
pub mod sql;
pub mod wire;
pub mod write;
