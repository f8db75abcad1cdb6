//! The replicator.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use pyo3::prelude::*;

use crate::{
    config::Config,
    ground::{error::Error, event::Level, fork, panics::caught},
    python::process::live::Live,
    write::Moment,
};

/// How soon a delivery that could not be started is tried again.
const START_AGAIN: Duration = Duration::from_secs(1);

/// Replicates writes.
#[pyclass(frozen, weakref, module = "afterquery")]
pub struct Replicator {
    pub(super) config: Config,
    /// What runs in this process. Swapped for a new one after a fork.
    pub(super) live: ArcSwapOption<Live>,
    /// The process in which some thread starts it. No mutex: a child would inherit it locked.
    pub(super) starting: AtomicU32,
    /// Statements that came while it could not be started in a forked child.
    pub(super) lost: AtomicU64,
    /// When that was tried last.
    pub(super) failed_at: ArcSwapOption<Moment>,
}

impl Replicator {
    /// One with checked settings, which runs.
    pub(super) fn begin(py: Python<'_>, config: Config) -> PyResult<Self> {
        let replicator = Self {
            config,
            live: ArcSwapOption::empty(),
            starting: AtomicU32::new(0),
            lost: AtomicU64::new(0),
            failed_at: ArcSwapOption::empty(),
        };
        // Detached: building a TLS client reads certificates, and no thread of ours may wait for the GIL meanwhile.
        py.detach(|| replicator.config.check().and_then(|()| replicator.start(replicator.config.clone())))?;
        Ok(replicator)
    }

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
    pub(super) fn with_live_for_statement<T>(
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
    pub(super) fn start(&self, config: Config) -> Result<Arc<Live>, Error> {
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

impl Drop for Replicator {
    fn drop(&mut self) {
        if let Some(live) = self.live.swap(None)
            && !live.is_here()
        {
            std::mem::forget(live);
        }
    }
}
