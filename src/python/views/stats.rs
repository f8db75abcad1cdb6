//! Counters and conditions at one moment.

use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::integrations::IntegrationStats;
use crate::{journal::Pending, python::process::border::entry, replica::Shared};

/// One replica's condition and counters.
#[pyclass(frozen, get_all, module = "afterquery")]
#[derive(Clone)]
pub struct ReplicaStats {
    /// The replica's name; its URL where none was given.
    name: String,
    /// Where it lives.
    url: String,
    /// `"connecting"`: it has not answered yet. `"live"`: it answers. `"retrying"`: the last request failed and is
    /// tried again. `"halted"`, `"detached"`, `"diverged"`: it gets nothing until `resume()`. `"closed"`.
    state: &'static str,
    /// `"closed"`: requests go out. `"open"`: after many failures none goes out for a while. `"half_open"`: one is
    /// tried.
    breaker: &'static str,
    /// Whether the replica is known to differ from the primary: it rejected a write, or changed other numbers of
    /// rows.
    diverged: bool,
    /// Writes without an outcome here.
    pending: usize,
    /// Their size in memory or in the journal, in bytes.
    pending_bytes: usize,
    /// Seconds since the oldest write without an outcome here was handed over; 0.0 if there is none.
    lag: f64,
    /// The `seq` up to which every write of this process has an outcome here.
    acknowledged: u64,
    /// Writes that it has, since this process started.
    fulfilled: u64,
    /// Writes that it rejected, since this process started.
    rejected: u64,
    /// Requests sent to it, since this process started.
    requests: u64,
    /// How many of them were tried again.
    retries: u64,
    /// Writes that changed another number of rows here than on the primary.
    changes_differ: u64,
    /// What is wrong with it now, as `Outcome.reason`; None if nothing is.
    reason: Option<String>,
}

impl ReplicaStats {
    fn new(shared: &Shared, index: usize) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let status = &shared.status[index];
        let condition = status.condition();
        let lag = shared.lag(index as u8);
        let acknowledged = status.acknowledged.load(Relaxed);
        let oldest = shared.oldest_open(index as u8);
        Self {
            name: shared.name(index as u8).to_owned(),
            url: shared.config.replicas[index].endpoint.base.to_string(),
            state: condition.activity.as_str(),
            breaker: condition.breaker.as_str(),
            diverged: status.diverged.load(Relaxed),
            pending: lag.writes,
            pending_bytes: lag.bytes,
            lag: oldest.map_or(0.0, |oldest| oldest.elapsed().as_secs_f64()),
            acknowledged,
            fulfilled: status.fulfilled.load(Relaxed),
            rejected: status.rejected.load(Relaxed),
            requests: status.requests.load(Relaxed),
            retries: status.retries.load(Relaxed),
            changes_differ: status.changes_differ.load(Relaxed),
            reason: condition.reason.map(|reason| reason.to_string()),
        }
    }
}

#[pymethods]
impl ReplicaStats {
    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let reason =
                self.reason.as_ref().map(|reason| format!(", reason={reason:?}")).unwrap_or_default();
            Ok(format!(
                "ReplicaStats(name={:?}, state={:?}, pending={}{reason})",
                self.name, self.state, self.pending
            ))
        })
    }
}

/// A replicator's counters at one moment.
#[pyclass(frozen, module = "afterquery")]
pub struct Stats {
    /// Writes handed over since this process started.
    #[pyo3(get)]
    pub writes: u64,
    /// Writes that some replica has no outcome for, those of adopted journals included.
    #[pyo3(get)]
    pub pending: usize,
    /// Their size, in bytes.
    #[pyo3(get)]
    pub pending_bytes: usize,
    pub skipped: Vec<(&'static str, u64)>,
    replicas: Vec<ReplicaStats>,
    /// Statements that may differ on a replica, whatever the setting did with them.
    #[pyo3(get)]
    pub nondeterministic: u64,
    /// Dead letters that `max_dead_letters` had no room for: they are lost.
    #[pyo3(get)]
    pub dead_letters_dropped: u64,
    /// Log records that Python did not take in time.
    #[pyo3(get)]
    pub logs_dropped: u64,
    /// Errors of ours that were caught before they reached the application, in this process.
    #[pyo3(get)]
    panics: u64,
    /// Writes that are not in the journal's file yet; 0 without a journal.
    #[pyo3(get)]
    unsaved: u64,
    /// Why the journal cannot be written now; None if it can.
    #[pyo3(get)]
    journal_problem: Option<String>,
    /// What the integrations know that the core does not: errors, commits held back.
    #[pyo3(get)]
    integrations: IntegrationStats,
    /// Journals of dead processes that this one delivers.
    #[pyo3(get)]
    adopted_journals: usize,
    /// Journals of dead processes that wait for their turn.
    #[pyo3(get)]
    waiting_journals: usize,
    /// Journals of dead processes that cannot be read; the log has their paths.
    #[pyo3(get)]
    damaged_journals: usize,
    /// Why it is not certain that the replicas have all that the primary has; None if nothing says so.
    #[pyo3(get)]
    not_certain: Option<String>,
    /// Writes that came after `close()`.
    #[pyo3(get)]
    refused: u64,
    /// Statements that were lost because delivery could not start in a forked child.
    #[pyo3(get)]
    lost: u64,
}

impl Stats {
    pub fn new(live: &crate::python::process::live::Live, integrations: IntegrationStats, lost: u64) -> Self {
        let shared = live.engine.shared();
        let sources = shared.sources();
        let total = sources.iter().fold(Pending::default(), |sum, source| sum + source.journal.total());
        Self {
            writes: live.engine.writes(),
            pending: total.writes,
            pending_bytes: total.bytes,
            skipped: live.engine.skipped().map(|(skip, count)| (skip.as_str(), count)).collect(),
            replicas: (0..shared.status.len()).map(|index| ReplicaStats::new(shared, index)).collect(),
            nondeterministic: live.engine.nondeterministic(),
            dead_letters_dropped: shared.dead_dropped.load(std::sync::atomic::Ordering::Relaxed),
            logs_dropped: live.logs_dropped(),
            panics: crate::ground::panics::count(),
            unsaved: shared.own.journal.unsaved(),
            journal_problem: shared.journal_problem(),
            integrations,
            adopted_journals: sources.len() - 1,
            waiting_journals: shared.adoption.waiting(),
            damaged_journals: shared.adoption.damaged(),
            not_certain: shared.adoption.not_certain(),
            refused: shared.refused.load(std::sync::atomic::Ordering::Relaxed),
            lost,
        }
    }
}

#[pymethods]
impl Stats {
    /// Statements left out, by reason: every reason is a key, and most are 0.
    #[getter]
    fn skipped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        entry("skipped", || {
            let skipped = PyDict::new(py);
            for (name, count) in &self.skipped {
                skipped.set_item(name, count)?;
            }
            Ok(skipped)
        })
    }

    /// One entry for each replica, in the order in which they were given.
    #[getter]
    fn replicas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("replicas", || PyTuple::new(py, self.replicas.iter().cloned()))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            Ok(format!(
                "Stats(writes={}, pending={}, replicas={})",
                self.writes,
                self.pending,
                self.replicas.len()
            ))
        })
    }
}
