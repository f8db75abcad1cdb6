//! The replicator.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyString, PyTuple, PyType},
};

use super::{
    bridge,
    config::{Defaults, replica_config, seconds, table_names},
    determinism::{Before, frozen},
    given::{Call, Given, text_of},
    live::Live,
    params::PyParameters,
    replication::{Replication, deadline, interruption},
    transaction::Transaction,
    views::{DeadLetter, Explanation, Stats},
};
use crate::{
    config::{Config, OnNondeterministic, OnReject},
    engine::{self, draft},
    error::Error,
    journal::Pending,
    write::Draft,
};

/// How long the end of a `with` block waits for the replicas; the default of `close` says the same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Replicates writes.
#[pyclass(frozen, weakref, module = "afterquery")]
pub struct Replicator {
    config: Config,
    /// What runs in this process. Swapped for a new one after a fork.
    live: ArcSwapOption<Live>,
}

impl Replicator {
    /// What runs in this process.
    pub fn live(&self) -> PyResult<Arc<Live>> {
        match self.live.load_full() {
            Some(live) if live.is_here() => Ok(live),
            _ => Ok(self.start()?),
        }
    }

    /// Starts anew: the first time, and in the child after a fork.
    fn start(&self) -> Result<Arc<Live>, Error> {
        let live = Live::start(self.config.clone())?;
        if let Some(inherited) = self.live.swap(Some(Arc::clone(&live))) {
            // Its threads and locks are the parent's. Dropping it here could wait for them for ever.
            std::mem::forget(inherited);
        }
        Ok(live)
    }
}

fn not_one_of(option: &'static str, value: &str, choices: &str) -> PyErr {
    Error::InvalidOption { option, value: format!("{value:?}"), problem: format!("it is {choices}") }.into()
}

/// Submits a write.
pub fn submit(live: &Live, draft: Draft) -> Replication {
    let write = live.engine.submit(draft);
    Replication {
        write,
        shared: live.engine.share(),
        handle: live.handle.clone(),
        generation: live.generation,
    }
}

#[pymethods]
impl Replicator {
    #[new]
    #[pyo3(signature = (
        replicas, *, auth_token=None, tables=None, ddl=false, on_reject="dead_letter", nondeterministic="warn",
        max_pending_writes=2_000_000, max_pending_bytes=536_870_912, max_lag_writes=1_000_000,
        max_lag_bytes=268_435_456, max_dead_letters=1_000, connect_timeout=5.0, request_timeout=30.0,
        retry_base=0.05, retry_max=5.0,
    ))]
    #[expect(clippy::too_many_arguments, reason = "each is a setting with a default")]
    fn new(
        py: Python<'_>,
        replicas: &Bound<'_, PyAny>,
        auth_token: Option<String>,
        tables: Option<&Bound<'_, PyAny>>,
        ddl: bool,
        on_reject: &str,
        nondeterministic: &str,
        max_pending_writes: usize,
        max_pending_bytes: usize,
        max_lag_writes: usize,
        max_lag_bytes: usize,
        max_dead_letters: usize,
        connect_timeout: f64,
        request_timeout: f64,
        retry_base: f64,
        retry_max: f64,
    ) -> PyResult<Self> {
        if replicas.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(
                "replicas must be a list of URLs or Replica objects, not one string",
            ));
        }
        let defaults = Defaults {
            auth_token,
            tables: tables.map(table_names).transpose()?,
            max_lag: Pending { writes: max_lag_writes, bytes: max_lag_bytes },
        };
        let replicas =
            replicas.try_iter()?.map(|entry| replica_config(&entry?, &defaults)).collect::<PyResult<_>>()?;
        let on_reject = match on_reject {
            "dead_letter" => OnReject::DeadLetter,
            "halt" => OnReject::Halt,
            other => return Err(not_one_of("on_reject", other, "\"dead_letter\" or \"halt\"")),
        };
        let nondeterministic = match nondeterministic {
            "warn" => OnNondeterministic::Warn,
            "reject" => OnNondeterministic::Reject,
            "rows" => OnNondeterministic::Rows,
            other => return Err(not_one_of("nondeterministic", other, "\"warn\", \"reject\" or \"rows\"")),
        };
        let config = Config {
            replicas,
            ddl,
            on_reject,
            nondeterministic,
            max_pending: Pending { writes: max_pending_writes, bytes: max_pending_bytes },
            max_dead_letters,
            connect_timeout: seconds("connect_timeout", connect_timeout)?,
            request_timeout: seconds("request_timeout", request_timeout)?,
            retry_base: seconds("retry_base", retry_base)?,
            retry_max: seconds("retry_max", retry_max)?,
        };
        let replicator = Self { config, live: ArcSwapOption::empty() };
        // Detached: building a TLS client reads certificates, and no thread of ours may wait for the GIL meanwhile.
        py.detach(|| replicator.config.check().and_then(|()| replicator.start()))?;
        Ok(replicator)
    }

    /// The identity of this process's journal.
    #[getter]
    fn origin(&self) -> PyResult<String> {
        Ok(self.live()?.engine.shared().origin.clone())
    }

    /// The replicas' names.
    #[getter]
    fn replicas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.config.replicas.iter().map(|replica| &replica.name))
    }

    #[pyo3(signature = (sql, params=None, *, last_insert_rowid=None, changes=None, total_changes=None))]
    fn before_query<'py>(
        &self,
        sql: Bound<'py, PyAny>,
        params: Option<Bound<'py, PyAny>>,
        last_insert_rowid: Option<i64>,
        changes: Option<i64>,
        total_changes: Option<i64>,
    ) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
        let Ok(text) = text_of(&sql)?.to_str() else { return Ok((sql, params)) };
        if !self.live()?.engine.look_up(text).suspect {
            return Ok((sql, params));
        }
        let set = params.as_ref().map_or(PyParameters::None, PyParameters::new);
        let before = Before { last_insert_rowid, changes, total_changes };
        let frozen = frozen(sql.py(), text, &set, before);
        let frozen = frozen.map(|frozen| PyString::new(sql.py(), &frozen).into_any());
        Ok((frozen.unwrap_or(sql), params))
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
    ) -> PyResult<Option<Replication>> {
        let live = self.live()?;
        match (Given { sql, params, result, many, rows, key }).read(&live)? {
            Some(Call { statements, targets, expected }) => {
                Ok(Some(submit(&live, draft(statements, targets, expected))))
            }
            None => Ok(None),
        }
    }

    fn transaction(slf: Py<Self>) -> Transaction {
        Transaction::new(slf)
    }

    fn explain(&self, sql: &str) -> Explanation {
        let names: Vec<_> = self.config.replicas.iter().map(|replica| replica.name.clone()).collect();
        Explanation::new(sql, &self.config.rules(), &names, self.config.nondeterministic)
    }

    fn stats(&self) -> PyResult<Stats> {
        Ok(Stats::new(&*self.live()?))
    }

    fn dead_letters(&self) -> PyResult<Vec<DeadLetter>> {
        let live = self.live()?;
        let shared = live.engine.shared();
        Ok(shared.dead_letters().iter().map(|letter| DeadLetter::new(letter, shared)).collect())
    }

    #[pyo3(signature = (replica, *, skip=false))]
    fn resume(&self, replica: &str, skip: bool) -> PyResult<()> {
        Ok(self.live()?.engine.resume(replica, skip)?)
    }

    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let (live, deadline) = (self.live()?, deadline(timeout)?);
        let mut signal = None;
        let settled = py.detach(|| live.engine.flush(deadline, interruption(&mut signal)));
        signal.map_or(Ok(settled), Err)
    }

    #[pyo3(signature = (timeout=None))]
    fn aflush<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let (live, deadline) = (self.live()?, deadline(timeout)?);
        bridge::awaitable(py, &live.handle.clone(), async move {
            let all = engine::all_settled(live.engine.open_writes());
            Ok(match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline.into(), all).await.is_ok(),
                None => {
                    all.await;
                    true
                }
            })
        })
    }

    #[pyo3(signature = (timeout=5.0))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let (live, deadline) = (self.live()?, deadline(timeout)?);
        let mut signal = None;
        let settled = py.detach(|| live.engine.close(deadline, interruption(&mut signal)));
        signal.map_or(Ok(settled), Err)
    }

    #[pyo3(signature = (timeout=5.0))]
    fn aclose<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let (live, deadline) = (self.live()?, deadline(timeout)?);
        bridge::awaitable(py, &live.handle.clone(), async move {
            let closing = tokio::task::spawn_blocking(move || live.engine.close(deadline, || false));
            Ok(closing.await.unwrap_or(false))
        })
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
        let _ = (exc_type, exc, tb);
        self.close(py, Some(CLOSE_TIMEOUT.as_secs_f64())).map(drop)
    }

    fn __aenter__<'py>(slf: Bound<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = pyo3_async_runtimes::get_running_loop(py)?;
        let future = event_loop.call_method0("create_future")?;
        future.call_method1("set_result", (slf,))?;
        Ok(future)
    }

    #[pyo3(signature = (exc_type=None, exc=None, tb=None))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        exc_type: Option<&Bound<'py, PyType>>,
        exc: Option<&Bound<'py, PyAny>>,
        tb: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (exc_type, exc, tb);
        let (live, deadline) = (self.live()?, deadline(Some(CLOSE_TIMEOUT.as_secs_f64()))?);
        bridge::awaitable(py, &live.handle.clone(), async move {
            // Its value must not be true: that would swallow the block's exception.
            let closing = tokio::task::spawn_blocking(move || live.engine.close(deadline, || false));
            let _ = closing.await;
            Ok(None::<bool>)
        })
    }

    fn __repr__(&self) -> String {
        let names: Vec<_> = self.config.replicas.iter().map(|replica| replica.name.as_str()).collect();
        format!("Replicator({names:?})")
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        if let Some(live) = self.live.swap(None)
            && !live.is_here()
        {
            std::mem::forget(live);
        }
    }
}
