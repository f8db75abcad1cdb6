//! afterquery: after each SQL statement an application ran on its own database, its writes
//! reach peer databases over HTTP, in order and exactly once in effect.
//!
//! - [`sql`]: from SQL text to what it does, and to the text a replica is sent.

pub mod sql;
