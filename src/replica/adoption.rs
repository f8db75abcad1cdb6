//! The journals of dead processes: found when this process starts, and for as long as it lives.

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{shared::Shared, task::Command};
use crate::{
    ground::{error::Error, event::Level},
    journal::{Adopted, Directory, MAX_ADOPTED, Source},
    sql::ReplicaSet,
};

/// How often a living process looks for journals of dead ones. A look takes some microseconds for each file.
const LOOK: Duration = Duration::from_secs(5);

/// How often it looks in the tests, in seconds.
const TEST_VARIABLE: &str = "AFTERQUERY_TEST_LOOK";

/// What is known of the journals beside this process's own.
#[derive(Debug)]
pub struct Adoption {
    directory: Option<Directory>,
    /// How long after one look comes the next.
    pub(crate) interval: Duration,
    /// One look at a time.
    due: Mutex<Instant>,
    waiting: AtomicUsize,
    damaged: AtomicUsize,
    uncertain: Mutex<Uncertain>,
}

/// What a process may have taken with it.
#[derive(Debug, Default)]
struct Uncertain {
    /// Whose journals say so.
    origins: HashSet<String>,
    /// The replicas that were not synced since.
    replicas: ReplicaSet,
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

impl Shared {
    /// Notes what a look brought, and tells the user's log. The journals that were taken over.
    pub(crate) fn note_adopted(&self, adopted: Adopted) -> Vec<Arc<Source>> {
        let Adopted { sources, waiting, damaged, told, unclean } = adopted;
        self.adoption.waiting.store(waiting, Ordering::Release);
        self.adoption.damaged.store(damaged, Ordering::Release);
        told.into_iter().for_each(|(level, message)| self.log(level, message));
        self.note_unclean(unclean);
        sources.into_iter().map(Arc::new).collect()
    }

    fn note_unclean(&self, origins: Vec<String>) {
        if origins.is_empty() {
            return;
        }
        let first = {
            let mut uncertain = self.adoption.uncertain.lock().unwrap_or_else(PoisonError::into_inner);
            let first = uncertain.origins.is_empty();
            uncertain.origins.extend(origins);
            uncertain.replicas = self.all();
            first
        };
        if first {
            let message = "a process with a journal ended without closing it (it was killed, or its machine failed): its \
                           journal is delivered, but what it had committed and not yet handed over is in no journal. The \
                           replicas are not certain: compare them with the primary, or use the outbox, which has no such \
                           gap (this is said once; stats().not_certain goes on saying it)";
            self.log(Level::Warning, message.into());
        }
    }

    /// Looks for journals of processes that have died, if it is time.
    pub fn adopt_if_due(&self) {
        let is_due = self.adoption.due.try_lock().is_ok_and(|due| Instant::now() >= *due);
        if is_due {
            self.adopt();
        }
    }

    /// Has the next look come at once: there is room for a journal that waits.
    pub fn adopt_soon(&self) {
        if self.adoption.waiting() > 0 {
            *self.adoption.due.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            self.ring_writer();
        }
    }

    /// Looks for journals of processes that have died, and has them delivered. How many there were.
    pub fn adopt(&self) -> usize {
        let Some(directory) = &self.adoption.directory else { return 0 };
        let mut due = self.adoption.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = Instant::now() + self.adoption.interval;
        let room = MAX_ADOPTED.saturating_sub(self.adopted().len());
        let mut found = match directory.adopt(room) {
            Ok(found) => found,
            // The directory cannot be read: what is wrong with it shows where it is written to.
            Err(_) => return 0,
        };
        if let Some(own) = self.own.journal.disk() {
            found.move_letters(own);
        }
        let sources = self.note_adopted(found);
        for source in &sources {
            self.add_adopted(Arc::clone(source));
            for replica in 0..self.status.len() as u8 {
                self.command(replica, Command::Adopt(Arc::clone(source)));
            }
        }
        sources.len()
    }

    /// Gives up what journals of dead processes that are not in hand hold for `replica`, which was synced from a copy.
    pub fn give_up_waiting(&self, replica: u8) -> Result<(), Error> {
        let Some(directory) = &self.adoption.directory else { return Ok(()) };
        let _one_at_a_time = self.adoption.due.lock().unwrap_or_else(PoisonError::into_inner);
        let found = directory.give_up(usize::from(replica))?;
        found.told.into_iter().for_each(|(level, message)| self.log(level, message));
        self.note_unclean(found.unclean);
        Ok(())
    }
}
