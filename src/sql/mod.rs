//! SQL in: what a text does, which table it writes, and where its parameters are.

mod classify;
mod names;
mod placeholders;
mod scan;
mod statement;
mod token;
mod words;

pub use classify::{Classification, Kind, Placeholder, Statement, classify};
