//! What the integrations, which are in Python, know of a replicator's replicas.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use pyo3::{
    intern,
    prelude::*,
    types::{PyDict, PyFloat},
};

use crate::python::process::border::entry;

/// How long one look lasts while commits are waited for.
const LOOK: f64 = 0.1;
/// What is waited for where no deadline is given.
const LONG: Duration = Duration::from_secs(60);

/// The integrations' part of the statistics.
#[pyclass(frozen, module = "afterquery")]
#[derive(Clone, Default)]
pub struct IntegrationStats {
    errors: BTreeMap<String, u64>,
    missed: BTreeMap<String, u64>,
    /// Commits that wait for one before them that has not said how it ended.
    #[pyo3(get)]
    held: usize,
    /// For how many seconds the oldest of them has been waiting.
    #[pyo3(get)]
    oldest: f64,
    /// Why the order on the replicas may not be that of the commits; None if nothing says so.
    #[pyo3(get)]
    unordered: Option<String>,
}

impl IntegrationStats {
    /// What they know now; empty where none is in use.
    pub fn of(replicator: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Some(health) = health(replicator.py())? else { return Ok(Self::default()) };
        let (errors, missed, held, oldest, unordered) =
            health.call_method1("of", (replicator,))?.extract()?;
        Ok(Self { errors, missed, held, oldest, unordered })
    }

    /// Whether the replicas are sent all that was committed, in its order.
    pub fn is_clean(&self) -> bool {
        self.held == 0 && self.missed.is_empty() && self.unordered.is_none()
    }

    /// Whether commits wait for one before them.
    pub fn are_held(&self) -> bool {
        self.held > 0
    }
}

/// Waits until no commit is held back, or the deadline.
pub fn settle(replicator: &Bound<'_, PyAny>, deadline: Option<Instant>) -> PyResult<()> {
    let py = replicator.py();
    let Some(health) = health(py)? else { return Ok(()) };
    let deadline = deadline.unwrap_or_else(|| Instant::now() + LONG);
    while IntegrationStats::of(replicator)?.held > 0 && Instant::now() < deadline {
        health.call_method1("settle", (replicator, PyFloat::new(py, LOOK)))?;
        py.check_signals()?;
    }
    Ok(())
}

/// The module of the integrations that knows, if one is imported.
fn health(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    if !modules.contains("afterquery._failures")? {
        return Ok(None);
    }
    Ok(Some(py.import(intern!(py, "afterquery._health"))?.into_any()))
}

fn dict<'py>(py: Python<'py>, counts: &BTreeMap<String, u64>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    counts.iter().try_for_each(|(what, count)| dict.set_item(what, count))?;
    Ok(dict)
}

#[pymethods]
impl IntegrationStats {
    /// What went wrong in this process, and how often.
    #[getter]
    fn errors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        entry("errors", || dict(py, &self.errors))
    }

    /// What this replicator's replicas may lack, and how often.
    #[getter]
    fn missed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        entry("missed", || dict(py, &self.missed))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let count = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
            Ok(format!(
                "IntegrationStats(errors={}, missed={}, held={}, oldest={:.3}, unordered={:?})",
                count(&self.errors),
                count(&self.missed),
                self.held,
                self.oldest,
                self.unordered
            ))
        })
    }
}
