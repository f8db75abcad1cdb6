//! What the caller's threads and the replicas' tasks share.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, mpsc::UnboundedSender};

use super::{adoption::Adoption, command::Command, status::Status};
use crate::{
    config::Config,
    ground::{
        event::{Event, EventSink, Level},
        quoted::{MAX_LOG_BYTES, one_line},
    },
    journal::{Bell, Disk, Letters, Opened, Pending, Source},
    sql::ReplicaSet,
    write::Moment,
};

/// The state of one replicator.
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// This process's writes.
    pub own: Arc<Source>,
    /// What dead processes left and this one delivers.
    adopted: RwLock<Vec<Arc<Source>>>,
    /// Whether the delivery is being stopped: from here on no task may touch the runtime's clock, which is going away.
    ending: AtomicBool,
    /// Writes that were handed over after the end.
    pub refused: AtomicU64,
    /// What else they left.
    pub adoption: Adoption,
    /// What reaches the replicas' tasks.
    commands: OnceLock<Vec<UnboundedSender<Command>>>,
    /// The replicas, in the order of the settings.
    pub status: Vec<Status>,
    pub(super) letters: Letters,
    /// Dead letters that were dropped because there were too many.
    pub dead_dropped: AtomicU64,
    events: EventSink,
    /// Whether a task sleeps until a write comes. Asking a flag first spares the caller a wake-up, which costs
    /// more than everything else it does.
    pub(super) asleep: AtomicBool,
    pub(super) arrived: Notify,
    /// Wakes tasks that linger.
    pub(super) nudged: Notify,
    /// Somebody waits for a write of this process's own up to this number.
    pub(super) awaited: AtomicU64,
    pub(super) writer: OnceLock<Bell>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("origin", &self.own.origin).finish_non_exhaustive()
    }
}

impl Shared {
    /// The state at the start.
    pub fn new(config: Config, opened: Opened, events: EventSink) -> Self {
        let status = config.replicas.iter().map(|_| Status::default()).collect();
        let shared = Self {
            own: Arc::new(opened.own),
            adopted: RwLock::default(),
            ending: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            adoption: Adoption::new(opened.directory),
            commands: OnceLock::new(),
            config,
            status,
            letters: Letters::default(),
            dead_dropped: AtomicU64::new(0),
            events,
            asleep: AtomicBool::new(false),
            arrived: Notify::new(),
            nudged: Notify::new(),
            awaited: AtomicU64::new(0),
            writer: OnceLock::new(),
        };
        let adopted = shared.note_adopted(opened.adopted);
        adopted.into_iter().for_each(|source| shared.add_adopted(source));
        shared
    }

    /// Says that the delivery is being stopped.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Completes while the delivery runs. What asks after that is never heard of again.
    pub async fn running(&self) {
        if self.ending.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Names the channels to the replicas' tasks, in the order of the settings.
    pub fn set_commands(&self, commands: Vec<UnboundedSender<Command>>) {
        let _ = self.commands.set(commands);
    }

    /// Tells a replica's task. One that has ended needs to know nothing.
    pub fn command(&self, replica: u8, command: Command) {
        let commands = self.commands.get().and_then(|commands| commands.get(usize::from(replica)));
        let _ = commands.map(|commands| commands.send(command));
    }

    /// What dead processes left and this one delivers, the oldest first.
    pub fn adopted(&self) -> Vec<Arc<Source>> {
        self.adopted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up one more.
    pub fn add_adopted(&self, source: Arc<Source>) {
        self.adopted.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// One of them is gone: every replica has it.
    pub fn remove_adopted(&self, source: &Source) {
        let mut adopted = self.adopted.write().unwrap_or_else(PoisonError::into_inner);
        adopted.retain(|other| !std::ptr::eq(Arc::as_ptr(other), source));
        drop(adopted);
        self.adopt_soon();
    }

    /// What is delivered: what dead processes left, the oldest first, and this process's own.
    pub fn sources(&self) -> Vec<Arc<Source>> {
        let mut sources = self.adopted();
        sources.push(Arc::clone(&self.own));
        sources
    }

    /// All replicas.
    pub fn all(&self) -> ReplicaSet {
        (0..self.status.len()).map(|replica| 1 << replica).sum()
    }

    /// What `replica` has no outcome for.
    pub fn lag(&self, replica: u8) -> Pending {
        let pending = self.sources().into_iter().filter(|source| !source.is_finished(replica));
        pending.fold(Pending::default(), |sum, source| sum + source.journal.lag(replica))
    }

    /// When the oldest write was handed over that `replica` has no outcome for.
    pub fn oldest_open(&self, replica: u8) -> Option<Moment> {
        let pending = |source: &Arc<Source>| source.journal.lag(replica).writes > 0;
        self.sources().into_iter().filter(pending).find_map(|source| source.journal.oldest_open(replica))
    }

    /// What is wrong with the files.
    pub fn journal_problem(&self) -> Option<String> {
        self.sources().iter().find_map(|source| source.problem())
    }

    /// Tells the user's log what happened to the files.
    pub fn tell_news(&self) {
        let sources = self.sources();
        let news = sources.iter().filter_map(|source| source.journal.disk()).flat_map(Disk::news);
        news.for_each(|message| self.log(Level::Error, message));
    }

    /// Tells the user's log. Whatever the message quotes is shown on one line and cut.
    pub fn log(&self, level: Level, message: String) {
        let message = one_line(&message, MAX_LOG_BYTES);
        (self.events)(Event { level, message });
    }

    /// The name of a replica.
    pub fn name(&self, replica: u8) -> &str {
        &self.config.replicas[usize::from(replica)].name
    }
}
