//! The replicator.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyString, PyTuple, PyType},
};

use super::{
    border::{beside, entry},
    bridge,
    config::{Defaults, Token, replica_config, seconds, table_names},
    determinism::{Before, frozen},
    given::{Call, Given, text_of},
    integrations::{self, IntegrationStats},
    live::Live,
    params::PyParameters,
    replication::{Replication, deadline, interruption},
    transaction::Transaction,
    values::raise_kept,
    views::{DeadLetter, Explanation, Stats},
};
use crate::{
    config::{Config, Durability, JournalConfig, OnNondeterministic, OnReject},
    engine::LOOK_AGAIN,
    error::Error,
    fork,
    journal::{LetterKey, Pending},
    moment::Moment,
    outcome,
    panics::caught,
    render::draft,
    shared::Level,
    wire::Proxy,
    write::{Draft, Write},
};

/// How long the end of a `with` block waits for the replicas; the default of `close` says the same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How soon a delivery that could not be started is tried again.
const START_AGAIN: Duration = Duration::from_secs(1);

/// Replicates writes.
#[pyclass(frozen, weakref, module = "afterquery")]
pub struct Replicator {
    config: Config,
    /// What runs in this process. Swapped for a new one after a fork.
    live: ArcSwapOption<Live>,
    /// The process in which some thread starts it. No mutex: a child would inherit it locked.
    starting: AtomicU32,
    /// Statements that came while it could not be started in a forked child.
    lost: AtomicU64,
    /// When that was tried last.
    failed_at: ArcSwapOption<Moment>,
}

impl Replicator {
    /// What runs in this process.
    pub fn live(&self) -> PyResult<Arc<Live>> {
        match self.live.load_full() {
            Some(live) if live.is_here() => Ok(live),
            // Opening a journal waits for the disk.
            _ => Ok(Python::attach(|py| py.detach(|| self.start_in_child()))?),
        }
    }

    /// For a statement of the user's, which must not fail because of us: `None`, and the statement is counted as lost, where
    /// the delivery cannot be started in a forked child, for want of threads, descriptors or certificates.
    pub fn live_for_statement(&self, py: Python<'_>) -> Option<Arc<Live>> {
        let live = self.try_live(py);
        if live.is_none() {
            self.count_lost(1);
        }
        live
    }

    /// The same for `work` alone, without counting who has it.
    fn with_live_for_statement<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Live) -> PyResult<Option<T>>,
    ) -> PyResult<Option<T>> {
        match &*self.live.load() {
            Some(live) if live.is_here() => work(live),
            _ => self.live_for_statement(py).map_or(Ok(None), |live| work(&live)),
        }
    }

    /// Counts statements as lost that cannot be handed over in a forked child.
    pub fn count_lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// The same where no statement is handed over.
    pub fn try_live(&self, py: Python<'_>) -> Option<Arc<Live>> {
        if self.failed_at.load().as_ref().is_none_or(|at| at.elapsed() >= START_AGAIN) {
            match self.live() {
                Ok(live) => return Some(live),
                Err(error) => {
                    self.failed_at.store(Some(Arc::new(Moment::now())));
                    tell_not_started(py, &error);
                }
            }
        }
        None
    }

    /// In a child the application is running already, and must not stop for a journal that cannot be had there: then the
    /// writes are kept in memory, and the user is told.
    fn start_in_child(&self) -> Result<Arc<Live>, Error> {
        let here = fork::generation();
        // The threads of a child may all come at once, and must share one order of writes.
        while self.starting.swap(here, Ordering::SeqCst) == here {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Caught here: the others would wait for this one for ever.
        let started = caught("start", || match self.live.load_full() {
            Some(live) if live.is_here() => Ok(live),
            _ => self.start_anew(),
        });
        self.starting.store(0, Ordering::SeqCst);
        started.unwrap_or_else(|panic| Err(Error::Start(panic.to_string())))
    }

    fn start_anew(&self) -> Result<Arc<Live>, Error> {
        match self.start(self.config.clone()) {
            Err(error @ Error::Journal { .. }) => {
                let live = self.start(Config { journal: None, ..self.config.clone() })?;
                let message = format!("{error}; after this fork writes are kept in memory only");
                live.engine.shared().log(Level::Error, message);
                Ok(live)
            }
            started => started,
        }
    }

    /// Starts anew: the first time, and in the child after a fork.
    fn start(&self, config: Config) -> Result<Arc<Live>, Error> {
        let live = Live::start(config)?;
        if let Some(inherited) = self.live.swap(Some(Arc::clone(&live))) {
            // Its threads and locks are the parent's. Dropping it here could wait for them for ever.
            std::mem::forget(inherited);
        }
        Ok(live)
    }
}

/// Tells the user's log; there is no thread of ours that could.
fn tell_not_started(py: Python<'_>, error: &PyErr) {
    let log = || -> PyResult<()> {
        let logger = py.import("logging")?.call_method1("getLogger", ("afterquery",))?;
        let text = "%s; statements of this process are lost until it can be (stats().lost counts them)";
        logger.call_method1("error", (text, error.value(py).str()?))?;
        Ok(())
    };
    if let Err(error) = log() {
        error.write_unraisable(py, None);
    }
}

fn not_one_of(option: &'static str, value: &str, choices: &str) -> PyErr {
    Error::InvalidOption { option, value: format!("{value:?}"), problem: format!("it is {choices}") }.into()
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

/// The limits that depend on where writes are kept.
struct DefaultLimits {
    max_lag: Pending,
    max_dead_letters: usize,
}

impl DefaultLimits {
    fn of(on_disk: bool) -> Self {
        if on_disk {
            // What bounds a journal on disk is `max_journal_bytes`.
            let max_lag = Pending { writes: usize::MAX, bytes: usize::MAX };
            return Self { max_lag, max_dead_letters: 1_000_000 };
        }
        Self { max_lag: Pending { writes: 1_000_000, bytes: 268_435_456 }, max_dead_letters: 1_000 }
    }
}

fn journal_config(
    path: Option<PathBuf>,
    durability: &str,
    max_bytes: usize,
    origin: Option<String>,
) -> PyResult<Option<JournalConfig>> {
    let durability = match durability {
        "async" => Durability::Async,
        "process" => Durability::Process,
        "disk" => Durability::Disk,
        other => return Err(not_one_of("durability", other, "\"async\", \"process\" or \"disk\"")),
    };
    let needs_journal = |option, value: String| {
        Err(Error::InvalidOption { option, value, problem: "it needs journal=".into() }.into())
    };
    match (path, origin) {
        (Some(path), origin) => {
            // Now: a child of this process may have changed its directory, and must find the same one.
            let path = std::path::absolute(&path).map_err(|error| Error::Journal {
                path: path.display().to_string(),
                problem: error.to_string(),
            })?;
            Ok(Some(JournalConfig { path, durability, max_bytes, origin }))
        }
        (None, Some(origin)) => needs_journal("origin", format!("{origin:?}")),
        (None, None) if durability != Durability::Async => {
            needs_journal("durability", format!("{:?}", durability).to_ascii_lowercase())
        }
        (None, None) => Ok(None),
    }
}

/// What names dead letters.
fn letter_keys(letters: &Bound<'_, PyAny>) -> PyResult<Vec<LetterKey>> {
    let wrong = |what: &Bound<'_, PyAny>| {
        let found = super::params::type_name(what);
        PyTypeError::new_err(format!("letters must be DeadLetter objects from dead_letters(), not {found}"))
    };
    let key = |letter: Bound<'_, PyAny>| {
        Ok(letter.cast::<DeadLetter>().map_err(|_| wrong(&letter))?.get().key.clone())
    };
    if letters.is_instance_of::<DeadLetter>() {
        return Ok(vec![key(letters.clone())?]);
    }
    letters.try_iter().map_err(|_| wrong(letters))?.map(|letter| key(letter?)).collect()
}

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
            if replicas.is_instance_of::<PyString>() {
                return Err(PyTypeError::new_err(
                    "replicas must be a list of URLs or Replica objects, not one string",
                ));
            }
            let journal = journal_config(journal, durability, max_journal_bytes, origin)?;
            let limits = DefaultLimits::of(journal.is_some());
            let defaults = Defaults {
                auth_token: auth_token.map(|Token(token)| token),
                proxy: proxy.map(Proxy::new).transpose()?.unwrap_or_default(),
                tables: tables.map(table_names).transpose()?,
                max_lag: Pending {
                    writes: max_lag_writes.unwrap_or(limits.max_lag.writes),
                    bytes: max_lag_bytes.unwrap_or(limits.max_lag.bytes),
                },
            };
            let replicas = replicas
                .try_iter()?
                .map(|entry| replica_config(&entry?, &defaults))
                .collect::<PyResult<_>>()?;
            let on_reject = match on_reject {
                "dead_letter" => OnReject::DeadLetter,
                "halt" => OnReject::Halt,
                other => return Err(not_one_of("on_reject", other, "\"dead_letter\" or \"halt\"")),
            };
            let nondeterministic = match nondeterministic {
                "warn" => OnNondeterministic::Warn,
                "reject" => OnNondeterministic::Reject,
                "rows" => OnNondeterministic::Rows,
                other => {
                    return Err(not_one_of("nondeterministic", other, "\"warn\", \"reject\" or \"rows\""));
                }
            };
            let config = Config {
                replicas,
                ddl,
                on_reject,
                nondeterministic,
                max_pending: Pending { writes: max_pending_writes, bytes: max_pending_bytes },
                journal,
                max_dead_letters: max_dead_letters.unwrap_or(limits.max_dead_letters),
                connect_timeout: seconds("connect_timeout", connect_timeout)?,
                request_timeout: seconds("request_timeout", request_timeout)?,
                retry_base: seconds("retry_base", retry_base)?,
                retry_max: seconds("retry_max", retry_max)?,
                log_values,
            };
            let replicator = Self {
                config,
                live: ArcSwapOption::empty(),
                starting: AtomicU32::new(0),
                lost: AtomicU64::new(0),
                failed_at: ArcSwapOption::empty(),
            };
            // Detached: building a TLS client reads certificates, and no thread of ours may wait for the GIL meanwhile.
            py.detach(|| {
                replicator.config.check().and_then(|()| replicator.start(replicator.config.clone()))
            })?;
            Ok(replicator)
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
                Ok(frozen(sql.py(), text, &set, before))
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
                    Some(Call { statements, targets, expected }) => {
                        Ok(Some(submit(sql.py(), live, draft(statements, targets, expected))))
                    }
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
                    live.engine.shared().nudge();
                    let Ok(open) = live.engine.open_writes() else { return false };
                    if !outcome::all_settled(open).await {
                        return false;
                    }
                    while !live.engine.has_all() {
                        tokio::time::sleep(LOOK_AGAIN).await;
                        let Ok(open) = live.engine.open_writes() else { return false };
                        if !outcome::all_settled(open).await {
                            return false;
                        }
                    }
                    true
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

impl Drop for Replicator {
    fn drop(&mut self) {
        if let Some(live) = self.live.swap(None)
            && !live.is_here()
        {
            std::mem::forget(live);
        }
    }
}
