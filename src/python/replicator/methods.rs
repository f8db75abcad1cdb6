//! What Python calls of a replicator.

use std::{path::PathBuf, sync::atomic::Ordering, time::Duration};

use pyo3::{
    prelude::*,
    types::{PyString, PyTuple, PyType},
};

use super::{
    replication::{Replication, deadline, interruption, replication, submit},
    replicator::Replicator,
    transaction::Transaction,
};
use crate::{
    engine::LOOK_AGAIN,
    python::{
        given::{
            given::{Given, text_of},
            params::PyParameters,
            values::raise_kept,
            zone::utc_offset_seconds,
        },
        process::{beside::beside, border::entry, bridge, live::Live},
        settings::{config::Token, replicator::Arguments},
        views::{
            explanation::Explanation,
            integrations::{self, IntegrationStats},
            letter::{DeadLetter, letter_keys},
            stats::Stats,
        },
    },
    sql::{Before, frozen},
};

/// How long the end of a `with` block waits for the replicas; the default of `close` says the same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

#[pymethods]
impl Replicator {
    #[new]
    #[pyo3(signature = (
        replicas, *, auth_token=None, tables=None, ddl=false, on_reject="dead_letter", nondeterministic="warn",
        journal=None, durability="async", max_journal_bytes=4_294_967_296,
        max_pending_writes=2_000_000, max_pending_bytes=536_870_912, max_lag_writes=None, max_lag_bytes=None,
        max_dead_letters=None, connect_timeout=5.0, request_timeout=30.0, retry_base=0.05, retry_max=5.0,
        origin=None, proxy=None, log_values=false,
    ))]
    #[expect(clippy::too_many_arguments, reason = "each is a setting with a default")]
    fn new(
        py: Python<'_>,
        replicas: &Bound<'_, PyAny>,
        auth_token: Option<Token>,
        tables: Option<&Bound<'_, PyAny>>,
        ddl: bool,
        on_reject: &str,
        nondeterministic: &str,
        journal: Option<PathBuf>,
        durability: &str,
        max_journal_bytes: usize,
        max_pending_writes: usize,
        max_pending_bytes: usize,
        max_lag_writes: Option<usize>,
        max_lag_bytes: Option<usize>,
        max_dead_letters: Option<usize>,
        connect_timeout: f64,
        request_timeout: f64,
        retry_base: f64,
        retry_max: f64,
        origin: Option<String>,
        proxy: Option<&str>,
        log_values: bool,
    ) -> PyResult<Self> {
        entry("new", || {
            let arguments = Arguments {
                replicas,
                auth_token,
                tables,
                ddl,
                on_reject,
                nondeterministic,
                journal,
                durability,
                max_journal_bytes,
                max_pending_writes,
                max_pending_bytes,
                max_lag_writes,
                max_lag_bytes,
                max_dead_letters,
                connect_timeout,
                request_timeout,
                retry_base,
                retry_max,
                origin,
                proxy,
                log_values,
            };
            Self::begin(py, arguments.config()?)
        })
    }

    /// The identity of this process's journal.
    #[getter]
    fn origin(&self) -> PyResult<String> {
        entry("origin", || Ok(self.live()?.engine.shared().own.origin.clone()))
    }

    /// The replicas' names.
    #[getter]
    fn replicas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("replicas", || PyTuple::new(py, self.config.replicas.iter().map(|replica| &replica.name)))
    }

    /// Freezes what would differ on a replica: clocks, `random()`, and the counters that are given.
    ///
    /// Returns the text and the parameters to run in their place, and to give to `after_query`; the same objects
    /// where there is nothing to freeze. `last_insert_rowid`, `changes` and `total_changes` are what the connection
    /// would answer now. Raises `ConfigurationError` after `close()`.
    #[pyo3(signature = (sql, params=None, *, last_insert_rowid=None, changes=None, total_changes=None))]
    fn before_query<'py>(
        &self,
        sql: Bound<'py, PyAny>,
        params: Option<Bound<'py, PyAny>>,
        last_insert_rowid: Option<i64>,
        changes: Option<i64>,
        total_changes: Option<i64>,
    ) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
        entry("before_query", || {
            let Ok(text) = text_of(&sql)?.to_str() else { return Ok((sql, params)) };
            let live = self.try_live(sql.py());
            if live.as_ref().is_some_and(|live| !live.engine.look_up(text).suspect) {
                return Ok((sql, params));
            }
            let before = Before { last_insert_rowid, changes, total_changes };
            let work = || {
                let set = params.as_ref().map_or(PyParameters::None, PyParameters::new);
                let zone = |unix_seconds| utc_offset_seconds(sql.py(), unix_seconds);
                Ok(frozen(text, &set, &zone, before))
            };
            // As it is, it may differ on a replica: `after_query` tells.
            let frozen = beside("freeze", live.as_deref(), || None, work)?;
            raise_kept()?;
            let frozen = frozen.map(|frozen| PyString::new(sql.py(), &frozen).into_any());
            Ok((frozen.unwrap_or(sql), params))
        })
    }

    /// Hands over a statement that succeeded on the primary: its text, its parameters, and its result.
    ///
    /// Does no I/O and returns at once, unless `durability` asks for the file. Returns the handle of the write, or
    /// None where nothing is to be replicated (`explain()` says why). `result` is the cursor, or the number of rows
    /// that it changed: the replicas' numbers are compared with it. `many`: as `executemany`, with an iterable of
    /// parameters. `rows` and `key`: the changed rows, as mappings, and the columns that name one: replicated in
    /// place of the statement if it may differ.
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
        beside(
            "after_query",
            None,
            || None,
            || {
                let given = Given { sql, params, result, many, rows, key };
                let work = |live: &Live| match given.read(live)? {
                    Some(call) => Ok(Some(submit(sql.py(), live, call.draft()))),
                    None => Ok(None),
                };
                let handle = self.with_live_for_statement(sql.py(), |live| {
                    beside("submit", Some(live), || None, || work(live))
                });
                raise_kept().and(handle)
            },
        )
    }

    /// A transaction: what is handed over in its `with` block is one write, and dropped if the block raises.
    fn transaction(slf: Py<Self>) -> PyResult<Transaction> {
        entry("transaction", || Ok(Transaction::new(slf)))
    }

    /// What would happen to each statement of a text, and why. Sends nothing.
    fn explain(&self, sql: &str) -> PyResult<Explanation> {
        entry("explain", || {
            let names: Vec<_> = self.config.replicas.iter().map(|replica| replica.name.clone()).collect();
            Ok(Explanation::new(sql, &self.config.rules(), &names, self.config.nondeterministic))
        })
    }

    /// The counters and the condition of each replica at this moment.
    fn stats(slf: &Bound<'_, Self>) -> PyResult<Stats> {
        entry("stats", || {
            let (live, integrations) = (slf.get().live()?, IntegrationStats::of(slf)?);
            let lost = slf.get().lost.load(Ordering::Relaxed);
            // It may wait for the journal's file.
            Ok(slf.py().detach(|| Stats::new(&live, integrations, lost)))
        })
    }

    /// The rejected writes that are kept, of all replicas and adopted journals, the oldest first.
    fn dead_letters(&self, py: Python<'_>) -> PyResult<Vec<DeadLetter>> {
        entry("dead_letters", || {
            let live = self.live()?;
            let letters = py.detach(|| live.engine.shared().dead_letters())?;
            Ok(letters.into_iter().map(DeadLetter::from).collect())
        })
    }

    /// Submits dead letters once more, in this order, each as a new write for the replica that rejected it.
    ///
    /// `letters`: one, several, or None for all. Returns the handles of the new writes. A letter that was replayed or
    /// discarded meanwhile is passed over.
    #[pyo3(signature = (letters=None))]
    fn replay(&self, py: Python<'_>, letters: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Replication>> {
        entry("replay", || {
            let (live, keys) = (self.live()?, letters.map(letter_keys).transpose()?);
            let writes = py.detach(|| live.engine.replay(keys.as_deref()))?;
            Ok(writes.into_iter().map(|write| replication(&live, write)).collect())
        })
    }

    /// Removes dead letters: one, several, or None for all. Returns how many there were.
    #[pyo3(signature = (letters=None))]
    fn discard(&self, py: Python<'_>, letters: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        entry("discard", || {
            let (live, keys) = (self.live()?, letters.map(letter_keys).transpose()?);
            Ok(py.detach(|| live.engine.discard(keys.as_deref()))?)
        })
    }

    /// Lets a replica that is halted, detached or diverged go on from what it has now.
    ///
    /// `replica` is its name. `skip`: give up the write that halted it. Raises `UnknownReplicaError`.
    #[pyo3(signature = (replica, *, skip=false))]
    fn resume(&self, py: Python<'_>, replica: &str, skip: bool) -> PyResult<()> {
        entry("resume", || {
            let live = self.live()?;
            Ok(py.detach(|| live.engine.resume(replica, skip))?)
        })
    }

    /// Waits until everything handed over so far is in the journal's file, as `durability` says.
    ///
    /// Returns whether it is; False without a journal.
    fn sync(&self, py: Python<'_>) -> PyResult<bool> {
        entry("sync", || {
            let live = self.live()?;
            Ok(py.detach(|| live.engine.sync()))
        })
    }

    /// Waits until everything handed over before is settled on every replica, with the GIL released.
    ///
    /// `timeout` is in seconds; None waits without end. Returns whether it is.
    #[pyo3(signature = (timeout=None))]
    fn flush(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<bool> {
        entry("flush", || {
            let (live, deadline) = (slf.get().live()?, deadline(timeout)?);
            integrations::settle(slf, deadline)?;
            let mut signal = None;
            let settled = slf.py().detach(|| live.engine.flush(deadline, interruption(&mut signal)));
            if let Some(signal) = signal {
                return Err(signal);
            }
            Ok(settled && IntegrationStats::of(slf)?.is_clean())
        })
    }

    /// `flush` for a coroutine.
    #[pyo3(signature = (timeout=None))]
    fn aflush<'py>(slf: &Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        entry("aflush", || {
            let (py, live, deadline) = (slf.py(), slf.get().live()?, deadline(timeout)?);
            // It runs on the one thread that takes the GIL.
            let replicator = slf.clone().unbind();
            let integrations = move || Python::attach(|py| IntegrationStats::of(replicator.bind(py)));
            bridge::awaitable(py, &live.handle.clone(), async move {
                let all = async {
                    while integrations().is_ok_and(|found| found.are_held()) {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                    live.engine.flushed(None).await
                };
                let settled = match deadline {
                    Some(deadline) => tokio::time::timeout_at(deadline.into(), all).await.unwrap_or(false),
                    None => all.await,
                };
                Ok(settled && integrations()?.is_clean())
            })
        })
    }

    /// Ends delivery: waits up to `timeout` seconds (None: without end), then rejects what is left.
    ///
    /// With a journal, what is left stays in its file, and the next process delivers it. Returns whether all was
    /// settled. Calling it again does no harm.
    #[pyo3(signature = (timeout=5.0))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        entry("close", || {
            let (live, deadline) = (self.live()?, deadline(timeout)?);
            let mut signal = None;
            let settled = py.detach(|| live.engine.close(deadline, interruption(&mut signal)));
            signal.map_or(Ok(settled), Err)
        })
    }

    /// `close` for a coroutine.
    #[pyo3(signature = (timeout=5.0))]
    fn aclose<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        entry("aclose", || {
            let (live, deadline) = (self.live()?, deadline(timeout)?);
            bridge::awaitable(py, &live.handle.clone(), async move {
                let closing = tokio::task::spawn_blocking(move || live.engine.close(deadline, || false));
                Ok(closing.await.unwrap_or(false))
            })
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
        entry("__exit__", || {
            let _ = (exc_type, exc, tb);
            self.close(py, Some(CLOSE_TIMEOUT.as_secs_f64())).map(drop)
        })
    }

    fn __aenter__<'py>(slf: Bound<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        entry("__aenter__", || {
            let event_loop = pyo3_async_runtimes::get_running_loop(py)?;
            let future = event_loop.call_method0("create_future")?;
            future.call_method1("set_result", (slf,))?;
            Ok(future)
        })
    }

    #[pyo3(signature = (exc_type=None, exc=None, tb=None))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        exc_type: Option<&Bound<'py, PyType>>,
        exc: Option<&Bound<'py, PyAny>>,
        tb: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        entry("__aexit__", || {
            let _ = (exc_type, exc, tb);
            let (live, deadline) = (self.live()?, deadline(Some(CLOSE_TIMEOUT.as_secs_f64()))?);
            bridge::awaitable(py, &live.handle.clone(), async move {
                // Its value must not be true: that would swallow the block's exception.
                let closing = tokio::task::spawn_blocking(move || live.engine.close(deadline, || false));
                let _ = closing.await;
                Ok(None::<bool>)
            })
        })
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let names: Vec<_> = self.config.replicas.iter().map(|replica| replica.name.as_str()).collect();
            Ok(format!("Replicator({names:?})"))
        })
    }
}
