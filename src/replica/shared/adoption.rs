//! The journals of dead processes: found when this process starts, and for as long as it lives.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{journal::Directory, sql::ReplicaSet};

/// How often a living process looks for journals of dead ones. A look takes some microseconds for each file.
const LOOK: Duration = Duration::from_secs(5);

/// How often it looks in the tests, in seconds.
const TEST_VARIABLE: &str = "AFTERQUERY_TEST_LOOK";

/// What is known of the journals beside this process's own.
#[derive(Debug)]
pub struct Adoption {
    pub(super) directory: Option<Directory>,
    /// How long after one look comes the next.
    pub(crate) interval: Duration,
    /// One look at a time.
    pub(super) due: Mutex<Instant>,
    pub(super) waiting: AtomicUsize,
    pub(super) damaged: AtomicUsize,
    pub(super) uncertain: Mutex<Uncertain>,
}

/// What a process may have taken with it.
#[derive(Debug, Default)]
pub(super) struct Uncertain {
    /// Whose journals say so.
    pub(super) origins: HashSet<String>,
    /// The replicas that were not synced since.
    pub(super) replicas: ReplicaSet,
}

impl Adoption {
    /// Where further journals are found.
    pub fn new(directory: Option<Directory>) -> Self {
        let tested = std::env::var(TEST_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
        let interval = tested.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LOOK);
        Self {
            directory,
            interval,
            due: Mutex::new(Instant::now() + interval),
            waiting: AtomicUsize::new(0),
            damaged: AtomicUsize::new(0),
            uncertain: Mutex::default(),
        }
    }

    /// How many journals of dead processes wait for others to be done.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// How many are left as they are, because they cannot be delivered.
    pub fn damaged(&self) -> usize {
        self.damaged.load(Ordering::Acquire)
    }

    /// Why the replicas may lack what the primary has; `None` where nothing speaks for it.
    pub fn not_certain(&self) -> Option<String> {
        let uncertain = self.uncertain.lock().unwrap_or_else(PoisonError::into_inner);
        (uncertain.replicas != 0).then(|| {
            let count = uncertain.origins.len();
            format!(
                "{count} processes with a journal ended without closing it: what one of them had committed and not yet handed \
                 over is in no journal. Compare the replicas with the primary"
            )
        })
    }

    /// Leaves a journal alone that holds nothing for the replicas of this process, for as long as it does not change.
    pub fn pass_over(&self, path: &Path) {
        if let Some(directory) = &self.directory {
            directory.pass_over(path, false);
        }
    }

    /// Notes that a replica is as the primary is.
    pub fn is_synced(&self, replica: u8) {
        self.uncertain.lock().unwrap_or_else(PoisonError::into_inner).replicas &= !(1 << replica);
    }
}
