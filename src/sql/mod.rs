//! SQL in: what a text does, which table it writes, and where its parameters are.

mod classify;

pub use classify::{Classification, Kind, Placeholder, Statement};
