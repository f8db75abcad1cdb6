//! What is done beside a statement of the user's, which it must not disturb.

use pyo3::prelude::*;

use super::live::Live;
use crate::{
    ground::{event::Level, panics::caught},
    sql::Skip,
};

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
