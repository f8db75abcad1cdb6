//! What the caller's threads and the replicas' tasks share.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    config::Config,
    journal::MemoryJournal,
    replica::{DeadLetter, Status},
};

/// How grave an [`Event`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something failed that is being tried again, or a replica may differ.
    Warning,
    /// Someone has to act.
    Error,
}

/// Something to tell the user's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How grave it is.
    pub level: Level,
    /// The text. Never holds a token.
    pub message: String,
}

/// Takes events; must not block.
pub type EventSink = Box<dyn Fn(Event) + Send + Sync>;

/// The state of one replicator.
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// Who numbers the writes.
    pub origin: String,
    /// The writes.
    pub journal: MemoryJournal,
    /// The replicas, in the order of the settings.
    pub status: Vec<Status>,
    dead: Mutex<VecDeque<DeadLetter>>,
    /// Dead letters that fell out of the bounded ring.
    pub dead_dropped: AtomicU64,
    events: EventSink,
    /// Whether a task sleeps until a write comes. Asking a flag first spares the caller a wake-up, which costs
    /// more than everything else it does.
    asleep: AtomicBool,
    arrived: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Shared {
    /// The state at the start.
    pub fn new(config: Config, origin: String, events: EventSink) -> Self {
        let status = config.replicas.iter().map(|_| Status::default()).collect();
        Self {
            journal: MemoryJournal::new(config.limits()),
            config,
            origin,
            status,
            dead: Mutex::default(),
            dead_dropped: AtomicU64::new(0),
            events,
            asleep: AtomicBool::new(false),
            arrived: Notify::new(),
        }
    }

    /// Tells the user's log.
    pub fn log(&self, level: Level, message: String) {
        (self.events)(Event { level, message });
    }

    /// The name of a replica.
    pub fn name(&self, replica: u8) -> &str {
        &self.config.replicas[usize::from(replica)].name
    }

    /// Wakes the tasks that wait for a write.
    pub fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.arrived.notify_waiters();
        }
    }

    /// Completes when something was appended after number `position`.
    pub async fn wait_after(&self, position: u64) {
        let mut arrived = std::pin::pin!(self.arrived.notified());
        // Register interest before looking: a write between the look and the wait would not wake us.
        arrived.as_mut().enable();
        self.asleep.store(true, Ordering::SeqCst);
        if !self.journal.has_after(position) {
            arrived.await;
        }
    }

    /// Keeps a rejected write.
    pub fn bury(&self, letter: DeadLetter) {
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.push_back(letter);
        if dead.len() > self.config.max_dead_letters {
            dead.pop_front();
            self.dead_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The rejected writes that are kept, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
