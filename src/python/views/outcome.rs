//! What became of a write, as Python sees it.

use pyo3::prelude::*;

use crate::{
    python::process::border::entry,
    replica::Shared,
    write::outcome::{self, Status},
};

/// What became of one write on one replica.
#[pyclass(frozen, eq, get_all, module = "afterquery")]
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The replica's name.
    replica: String,
    /// `"fulfilled"`: the replica has the write. `"rejected"`: it never will, and `reason` says why.
    status: &'static str,
    /// How many requests had the write in them, the one that settled it included.
    attempts: u32,
    /// Seconds from `after_query` to the outcome.
    latency: f64,
    /// Why it was rejected: a name that code may rely on, `: `, and words for people. Of a fulfilled write None, or
    /// `diverged: …` where it changed another number of rows than on the primary.
    reason: Option<String>,
    /// Rows changed on the replica, as SQLite's `changes()` counts them; None where it is not known.
    changes: Option<i64>,
}

impl Outcome {
    pub fn new(outcome: &outcome::Outcome, shared: &Shared) -> Self {
        let (status, reason, changes) = match &outcome.status {
            Status::Fulfilled { changes, differs_from } => {
                let told = differs_from.zip(*changes).map(|(expected, changes)| {
                    format!("diverged: it changed {changes} rows here and {expected} on the primary")
                });
                ("fulfilled", told, *changes)
            }
            Status::Rejected(reason) => ("rejected", Some(reason.to_string()), None),
        };
        Self {
            replica: shared.name(outcome.replica).to_owned(),
            status,
            attempts: outcome.attempts,
            latency: outcome.latency.as_secs_f64(),
            reason,
            changes,
        }
    }
}

#[pymethods]
impl Outcome {
    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let reason =
                self.reason.as_ref().map(|reason| format!(", reason={reason:?}")).unwrap_or_default();
            Ok(format!(
                "Outcome(replica={:?}, status={:?}, attempts={}, latency={:.6}{reason})",
                self.replica, self.status, self.attempts, self.latency
            ))
        })
    }
}
