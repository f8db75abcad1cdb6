//! The engine and the bridge of one process.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pyo3::prelude::*;

use super::{
    border::entry,
    bridge::{self, Bridge},
    known::KnownTexts,
};
use crate::{
    config::Config,
    engine::Engine,
    ground::{error::Error, fork, panics::caught},
};

/// What interpreter exit waits for the replicas, in all.
const EXIT_DEADLINE: Duration = Duration::from_secs(5);

/// What runs for one replicator in one process.
#[derive(Debug)]
pub struct Live {
    /// The process it belongs to.
    pub generation: u32,
    pub engine: Engine,
    pub handle: tokio::runtime::Handle,
    pub texts: KnownTexts,
    logs_dropped: Arc<AtomicU64>,
    bridge: Mutex<Option<Bridge>>,
}

impl Live {
    /// Starts everything anew in this process.
    pub fn start(config: Config) -> Result<Arc<Self>, Error> {
        let (bridge, events) = Bridge::start()?;
        let live = Arc::new(Self {
            generation: fork::generation(),
            engine: Engine::start(config, events)?,
            handle: bridge.handle(),
            texts: KnownTexts::default(),
            logs_dropped: Arc::clone(&bridge.dropped),
            bridge: Mutex::new(Some(bridge)),
        });
        register(&live);
        watch_end();
        Ok(live)
    }

    /// Whether it belongs to this process: after a fork nothing of it may be touched, not even to drop it.
    pub fn is_here(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Log records that were dropped.
    pub fn logs_dropped(&self) -> u64 {
        self.logs_dropped.load(Ordering::Relaxed)
    }

    fn end_bridge(&self) {
        self.bridge.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Everything that runs, to be closed when the interpreter ends. Locked only for a moment and by threads that are not
/// waiting for anything, so that hardly any fork finds it locked.
static RUNNING: Mutex<Vec<Weak<Live>>> = Mutex::new(Vec::new());

fn register(live: &Arc<Live>) {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.retain(|other| other.strong_count() > 0);
    running.push(Arc::downgrade(live));
}

/// Has everything closed when this process ends, however its kind ends.
fn watch_end() {
    Python::try_attach(|py| {
        let watched = py.import("afterquery._ending").and_then(|ending| ending.call_method0("watch"));
        if let Err(error) = watched {
            error.write_unraisable(py, None);
        }
    });
}

/// Closes everything before the process ends: after that no thread of ours may take the GIL. Harmless when repeated.
#[pyfunction]
pub fn close_all(py: Python<'_>) -> PyResult<()> {
    entry("close_all", || {
        let running = std::mem::take(&mut *RUNNING.lock().unwrap_or_else(PoisonError::into_inner));
        let running: Vec<_> = running.iter().filter_map(Weak::upgrade).collect();
        let (here, inherited): (Vec<_>, Vec<_>) = running.into_iter().partition(|live| live.is_here());
        inherited.into_iter().for_each(std::mem::forget);
        py.detach(|| {
            let deadline = Instant::now() + EXIT_DEADLINE;
            for live in &here {
                // One that fails must not keep the others from being closed.
                let _ = caught("exit", || live.engine.close(Some(deadline), || false));
                live.end_bridge();
            }
            let _ = caught("exit", bridge::join_ending);
        });
        Ok(())
    })
}
