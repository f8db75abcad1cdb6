//! What every entry from Python goes through: no panic crosses it. PyO3 would make a panic a `BaseException`, which no
//! `except Exception` stops, in the middle of the user's query. `tests/process/test_panics.py` looks that no entry is left out.

use pyo3::prelude::*;

use super::errors::AfterqueryError;
use crate::ground::panics::caught;

/// An entry that the user calls for its own sake: a panic becomes an `AfterqueryError`.
pub fn entry<T>(what: &'static str, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    caught(what, work).unwrap_or_else(|panic| Err(AfterqueryError::new_err(panic.to_string())))
}
