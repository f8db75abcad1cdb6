//! Several statements as one write.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    types::PyType,
};

use super::{
    replication::{Replication, replication, submit},
    replicator::Replicator,
};
use crate::{
    python::{
        given::{given::Given, values::raise_kept},
        process::{beside::beside, border::entry},
    },
    sql::Skip,
    write::{call::Call, render::draft},
};

/// Gathers the statements of one transaction: they are submitted together when the block ends, and dropped when it
/// raises.
#[pyclass(frozen, module = "afterquery")]
pub struct Transaction {
    replicator: Py<Replicator>,
    gathered: Mutex<Gathered>,
    replication: Mutex<Option<Py<Replication>>>,
}

#[derive(Default)]
struct Gathered {
    calls: Vec<Call>,
    ended: bool,
}

impl Gathered {
    fn check(&self) -> PyResult<()> {
        if self.ended {
            return Err(PyRuntimeError::new_err("the transaction has ended; start another one"));
        }
        Ok(())
    }

    /// Ends it: what was gathered.
    fn end(&mut self) -> PyResult<Vec<Call>> {
        self.check()?;
        self.ended = true;
        Ok(std::mem::take(&mut self.calls))
    }
}

impl Transaction {
    pub fn new(replicator: Py<Replicator>) -> Self {
        Self { replicator, gathered: Mutex::default(), replication: Mutex::new(None) }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_calls(&self, calls: &[Call]) -> PyResult<()> {
        let live = Python::attach(|py| self.replicator.get().try_live(py));
        if let Some(live) = live {
            live.engine.count_skip(Skip::Dropped, Call::count(calls));
        }
        Ok(())
    }
}

#[pymethods]
impl Transaction {
    /// The handle of the write; None before the end, and when there was nothing to replicate.
    #[getter]
    fn replication(&self, py: Python<'_>) -> PyResult<Option<Py<Replication>>> {
        entry("replication", || {
            let replication = self.replication.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(replication.as_ref().map(|replication| replication.clone_ref(py)))
        })
    }

    /// Gathers a statement, as `Replicator.after_query`; nothing is numbered or sent before the end.
    #[pyo3(signature = (sql, params=None, result=None, *, many=false, rows=None, key=None))]
    fn after_query(
        &self,
        sql: &Bound<'_, PyAny>,
        params: Option<&Bound<'_, PyAny>>,
        result: Option<&Bound<'_, PyAny>>,
        many: bool,
        rows: Option<&Bound<'_, PyAny>>,
        key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        beside(
            "after_query",
            None,
            || (),
            || {
                self.gathered().check()?;
                let Some(live) = self.replicator.get().live_for_statement(sql.py()) else { return Ok(()) };
                let given = Given { sql, params, result, many, rows, key };
                let call = beside(
                    "gather",
                    Some(&live),
                    || Some(Call::failed(live.engine.shared().all())),
                    || given.read(&live),
                )?;
                self.gathered().calls.extend(call);
                raise_kept()
            },
        )
    }

    /// Submits what was gathered, as one write; as number `seq` where somebody else numbers the writes.
    #[pyo3(signature = (*, seq=None))]
    fn commit(&self, py: Python<'_>, seq: Option<u64>) -> PyResult<Option<Py<Replication>>> {
        entry("commit", || {
            let calls = self.gathered().end()?;
            let replicator = self.replicator.get();
            let submitted = match seq {
                None => {
                    let Some(live) = replicator.try_live(py) else {
                        replicator.count_lost(Call::count(&calls));
                        return Ok(None);
                    };
                    let work = || Ok(Call::joined(calls).map(|draft| submit(py, &live, draft)));
                    beside("submit", Some(&live), || None, work)?
                }
                // Whoever numbers the writes must hear of an error, and says it again.
                Some(seq) => {
                    let live = replicator.live()?;
                    let draft = Call::joined(calls).unwrap_or_else(|| draft(Ok(Vec::new()), 0, None));
                    live.engine.submit_as(seq, draft).map(|write| replication(&live, write))
                }
            };
            let Some(submitted) = submitted else { return Ok(None) };
            let replication = Py::new(py, submitted)?;
            *self.replication.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(replication.clone_ref(py));
            Ok(Some(replication))
        })
    }

    /// Drops what was gathered.
    fn rollback(&self) -> PyResult<()> {
        entry("rollback", || {
            let calls = self.gathered().end()?;
            self.drop_calls(&calls)
        })
    }

    /// A mark to go back to.
    fn savepoint(&self) -> PyResult<usize> {
        entry("savepoint", || {
            let gathered = self.gathered();
            gathered.check()?;
            Ok(gathered.calls.len())
        })
    }

    /// Drops what was gathered since `savepoint`.
    fn rollback_to(&self, savepoint: usize) -> PyResult<()> {
        entry("rollback_to", || {
            let dropped = {
                let mut gathered = self.gathered();
                gathered.check()?;
                if savepoint > gathered.calls.len() {
                    return Err(PyValueError::new_err(
                        "the savepoint is not of this transaction, or was rolled back already",
                    ));
                }
                gathered.calls.split_off(savepoint)
            };
            self.drop_calls(&dropped)
        })
    }

    fn __len__(&self) -> PyResult<usize> {
        entry("__len__", || Ok(Call::count(&self.gathered().calls) as usize))
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type=None, exc=None, tb=None))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: Option<&Bound<'_, PyType>>,
        exc: Option<&Bound<'_, PyAny>>,
        tb: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        entry("__exit__", || {
            let _ = (exc, tb);
            if self.gathered().ended {
                // Ended by hand within the block.
                return Ok(());
            }
            if exc_type.is_some() { self.rollback() } else { self.commit(py, None).map(drop) }
        })
    }
}
