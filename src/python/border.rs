//! What every entry from Python goes through: no panic crosses it. PyO3 would make a panic a `BaseException`, which no
//! `except Exception` stops, in the middle of the user's query. `tests/process/test_panics.py` looks that no entry is left out.

use pyo3::prelude::*;

use super::{errors::AfterqueryError, live::Live};
use crate::{panics::caught, shared::Level, sql::Skip};

/// An entry that the user calls for its own sake: a panic becomes an `AfterqueryError`.
pub fn entry<T>(what: &'static str, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    caught(what, work).unwrap_or_else(|panic| Err(AfterqueryError::new_err(panic.to_string())))
}

/// What is done beside a statement of the user's, which it must not disturb: after a panic the statement is counted as not
/// replicated, the log tells, and `otherwise` is the answer. Where nothing runs yet, there is nobody to tell; the panic is
/// counted all the same.
pub fn beside<T>(
    what: &'static str,
    live: Option<&Live>,
    otherwise: impl FnOnce() -> T,
    work: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    caught(what, work).unwrap_or_else(|panic| {
        if let Some(live) = live {
            live.engine.count_skip(Skip::Internal, 1);
            live.engine.shared().log(Level::Error, format!("a statement is not replicated: {panic}"));
        }
        Ok(otherwise())
    })
}
