//! Several statements as one write.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyType};

use super::{
    given::Given,
    replication::Replication,
    replicator::{Replicator, submit},
};
use crate::{
    engine::draft,
    reason::Reason,
    sql::{ReplicaSet, Skip},
    write::SentStatement,
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
    statements: Vec<SentStatement>,
    targets: ReplicaSet,
    expected: Option<i64>,
    /// The first thing that cannot be sent: then the whole write cannot.
    unsendable: Option<Reason>,
    ended: bool,
}

impl Transaction {
    pub fn new(replicator: Py<Replicator>) -> Self {
        let gathered = Gathered { expected: Some(0), ..Gathered::default() };
        Self { replicator, gathered: Mutex::new(gathered), replication: Mutex::new(None) }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Transaction {
    /// The handle of the write; None before the end, and when there was nothing to replicate.
    #[getter]
    fn replication(&self, py: Python<'_>) -> Option<Py<Replication>> {
        let replication = self.replication.lock().unwrap_or_else(PoisonError::into_inner);
        replication.as_ref().map(|replication| replication.clone_ref(py))
    }

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
        if self.gathered().ended {
            return Err(PyRuntimeError::new_err("the transaction has ended; start another one"));
        }
        let live = self.replicator.get().live()?;
        let Some(call) = (Given { sql, params, result, many, rows, key }).read(&live)? else { return Ok(()) };
        let mut gathered = self.gathered();
        gathered.targets |= call.targets;
        gathered.expected = gathered.expected.zip(call.expected).map(|(a, b)| a + b);
        match call.statements {
            Ok(statements) => gathered.statements.extend(statements),
            Err(reason) => gathered.unsendable = gathered.unsendable.take().or(Some(reason)),
        }
        Ok(())
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
        let _ = (exc, tb);
        let gathered =
            std::mem::replace(&mut *self.gathered(), Gathered { ended: true, ..Gathered::default() });
        let replicator = self.replicator.get();
        if exc_type.is_some() {
            replicator.live()?.engine.count_skip(Skip::Dropped, gathered.statements.len() as u64);
            return Ok(());
        }
        let statements = match gathered.unsendable {
            Some(reason) => Err(reason),
            None => Ok(gathered.statements),
        };
        if gathered.targets != 0 {
            let replication =
                submit(&*replicator.live()?, draft(statements, gathered.targets, gathered.expected));
            let replication = Py::new(py, replication)?;
            *self.replication.lock().unwrap_or_else(PoisonError::into_inner) = Some(replication);
        }
        Ok(())
    }
}
