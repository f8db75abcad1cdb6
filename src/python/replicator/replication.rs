//! The handle of one write.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pyo3::{intern, prelude::*, types::PyTuple};

use crate::{
    ground::fork,
    python::{
        process::{border::entry, bridge, errors::NotSettledError, live::Live},
        settings::config::seconds,
        views::outcome::Outcome,
    },
    replica::Shared,
    sql::replicas_in,
    write::{Draft, Reason, ReasonCode, Write, waiting},
};

/// A write that was handed over: `wait()` for its outcomes, or `await` it.
#[pyclass(frozen, module = "afterquery")]
pub struct Replication {
    pub write: Arc<Write>,
    pub shared: Arc<Shared>,
    pub handle: tokio::runtime::Handle,
    pub generation: u32,
}

impl Replication {
    fn views(write: &Write, shared: &Shared) -> Vec<Outcome> {
        write.settlement.outcomes().iter().map(|outcome| Outcome::new(outcome, shared)).collect()
    }

    fn tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, Self::views(&self.write, &self.shared))
    }

    /// Why some replicas have no outcome yet: what went wrong last, or that nothing did.
    fn unsettled(&self) -> Vec<(String, String)> {
        let forked = Reason::new(
            ReasonCode::Forked,
            "the write was made before a fork and stays with the parent process",
        );
        let closed = Reason::new(
            ReasonCode::Closed,
            "the replicator is closed; the write is kept in the journal and delivered by the next process that uses it",
        );
        let why = |replica: usize| {
            let reason = if self.generation != fork::generation() {
                Some(forked.clone())
            } else if self.write.settlement.is_abandoned() {
                Some(closed.clone())
            } else {
                self.shared.status[replica].condition().reason
            };
            let text = reason.map_or_else(|| "no answer yet".to_owned(), |reason| reason.to_string());
            (self.shared.name(replica as u8).to_owned(), text)
        };
        replicas_in(self.write.settlement.open()).map(why).collect()
    }

    fn not_settled(&self, py: Python<'_>) -> PyErr {
        let unsettled = self.unsettled();
        let open: Vec<_> = unsettled.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        let message = format!("write {} is not settled on {}", self.write.seq, open.join(", "));
        match self.tuple(py) {
            Ok(outcomes) => NotSettledError::new_err((message, outcomes.unbind(), unsettled)),
            Err(error) => error,
        }
    }
}

#[pymethods]
impl Replication {
    /// The write's number within its origin, from 1.
    #[getter]
    fn seq(&self) -> u64 {
        self.write.seq
    }

    /// The origin (a UUID) that numbered the write.
    #[getter]
    fn origin(&self) -> &str {
        &self.shared.own.origin
    }

    /// Whether every replica has an outcome.
    #[getter]
    fn settled(&self) -> bool {
        self.write.settlement.is_settled()
    }

    /// The outcomes known so far, in the order of the replicas.
    #[getter]
    fn outcomes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("outcomes", || self.tuple(py))
    }

    /// Waits until every replica has an outcome, with the GIL released; Ctrl-C interrupts it.
    ///
    /// `timeout` is in seconds; None waits without end. Returns one `Outcome` for each replica, in their order.
    /// Raises `NotSettledError`, a `TimeoutError`, when the time is over: the write is not lost, it is delivered
    /// later.
    #[pyo3(signature = (timeout=None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyTuple>> {
        entry("wait", || {
            let deadline = deadline(timeout)?;
            if !self.write.settlement.is_settled() && self.generation != fork::generation() {
                return Err(self.not_settled(py));
            }
            let mut signal = None;
            self.shared.nudge();
            let settled = py.detach(|| waiting::wait(&self.write, deadline, &mut interruption(&mut signal)));
            match signal {
                Some(error) => Err(error),
                None if settled => self.tuple(py),
                None => Err(self.not_settled(py)),
            }
        })
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        entry("__await__", || {
            let future = if self.write.settlement.is_settled() {
                let event_loop = pyo3_async_runtimes::get_running_loop(py)?;
                let future = event_loop.call_method0(intern!(py, "create_future"))?;
                future.call_method1(intern!(py, "set_result"), (self.tuple(py)?,))?;
                future
            } else if self.generation != fork::generation() {
                return Err(self.not_settled(py));
            } else {
                self.shared.nudge();
                let (handle, generation) = (self.handle.clone(), self.generation);
                let (write, shared) = (Arc::clone(&self.write), Arc::clone(&self.shared));
                bridge::awaitable(py, &self.handle, async move {
                    waiting::settled(Arc::clone(&write)).await;
                    if write.settlement.is_settled() {
                        return Ok(Outcomes(Self::views(&write, &shared)));
                    }
                    let unsettled = Self { write, shared, handle, generation };
                    Err(Python::attach(|py| unsettled.not_settled(py)))
                })?
            };
            future.call_method0(intern!(py, "__await__"))
        })
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let open: Vec<_> = self.unsettled().into_iter().map(|(name, _)| name).collect();
            Ok(if open.is_empty() {
                format!("Replication(seq={}, settled=True)", self.write.seq)
            } else {
                format!("Replication(seq={}, settled=False, waiting for {})", self.write.seq, open.join(", "))
            })
        })
    }
}

/// Outcomes that become a tuple.
struct Outcomes(Vec<Outcome>);

impl<'py> IntoPyObject<'py> for Outcomes {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        PyTuple::new(py, self.0)
    }
}

/// A time-out in seconds as a moment. `None` waits without end.
pub fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(timeout) = timeout else { return Ok(None) };
    // A negative time-out is one that is over, as in the standard library.
    let wait = if timeout < 0.0 { Duration::ZERO } else { seconds("timeout", timeout)? };
    Ok(Instant::now().checked_add(wait))
}

/// Asks Python for a signal, such as Ctrl-C, and keeps the exception it raises.
pub fn interruption(error: &mut Option<PyErr>) -> impl FnMut() -> bool + '_ {
    move || {
        if error.is_none() {
            *error = Python::attach(|py| py.check_signals().err());
        }
        error.is_some()
    }
}

/// Submits a write.
pub fn submit(py: Python<'_>, live: &Live, draft: Draft) -> Replication {
    let write = if live.engine.waits() {
        // It waits for the disk, and no other thread of Python's shall wait with it.
        py.detach(|| live.engine.submit(draft))
    } else {
        live.engine.submit(draft)
    };
    replication(live, write)
}

/// The handle of a submitted write.
pub fn replication(live: &Live, write: Arc<Write>) -> Replication {
    let (shared, handle) = (live.engine.share(), live.handle.clone());
    Replication { write, shared, handle, generation: live.generation }
}
