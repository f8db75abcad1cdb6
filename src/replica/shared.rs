//! What the caller's threads and the replicas' tasks share.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc::UnboundedSender},
    time::Instant,
};

use super::{adoption::Adoption, status::Status, task::Command};
use crate::{
    config::Config,
    ground::{
        error::Error,
        event::{Event, EventSink, Level},
        quoted::{MAX_LOG_BYTES, one_line},
    },
    journal::{
        Bell, Cursor, DeadLetter, Disk, LINGER, LINGER_LOOKS, LetterKey, Letters, Opened, Pending, Source,
        letters_left,
    },
    sql::ReplicaSet,
    write::Moment,
};

/// Under a steady load a replica gets a request no sooner than this after the one before, unless somebody waits for an
/// outcome: each request costs sender and replica far more than another write in it. A write that comes alone goes at once.
pub const GATHER: Duration = Duration::from_millis(5);

/// So many writes are worth a request at any time; and a replica that was just sent so many is not held back.
pub const GATHER_WRITES: usize = 200;

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
    letters: Letters,
    /// Dead letters that were dropped because there were too many.
    pub dead_dropped: AtomicU64,
    events: EventSink,
    /// Whether a task sleeps until a write comes. Asking a flag first spares the caller a wake-up, which costs
    /// more than everything else it does.
    asleep: AtomicBool,
    arrived: Notify,
    /// Wakes tasks that linger.
    nudged: Notify,
    /// Somebody waits for a write of this process's own up to this number.
    awaited: AtomicU64,
    writer: OnceLock<Bell>,
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

    /// Wakes the tasks that wait for a write.
    pub fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.arrived.notify_waiters();
        }
    }

    /// Names the thread that puts writes into the file.
    pub fn set_writer(&self, bell: Option<Bell>) {
        if let Some(bell) = bell {
            let _ = self.writer.set(bell);
        }
    }

    /// Has writes put into the file soon.
    pub fn wake_writer(&self) {
        if let Some(bell) = self.writer.get() {
            bell.wake();
        }
    }

    /// Has the thread that puts writes into the file look at once.
    pub fn ring_writer(&self) {
        if let Some(bell) = self.writer.get() {
            bell.nudge();
        }
    }

    /// Has what was handed over sent at once: somebody waits for it.
    pub fn nudge(&self) {
        self.awaited.fetch_max(self.own.journal.last(), Ordering::Relaxed);
        self.own.journal.hurry();
        self.wake();
        if let Some(bell) = self.writer.get()
            && self.own.journal.unsaved() > 0
        {
            // The thread passes it on.
            bell.nudge();
        } else {
            self.nudge_tasks();
        }
    }

    /// Has what may be sent sent at once.
    pub fn nudge_tasks(&self) {
        self.nudged.notify_waiters();
    }

    /// Completes when `source` has something after number `position`. A task that has just been busy lingers first.
    pub async fn wait_after(&self, source: &Source, position: u64, busy: bool) {
        if busy && self.linger(source, position).await {
            return;
        }
        let mut arrived = std::pin::pin!(self.arrived.notified());
        // Register interest before looking: a write between the look and the wait would not wake us.
        arrived.as_mut().enable();
        self.asleep.store(true, Ordering::SeqCst);
        if !source.journal.has_after(position) {
            arrived.await;
        }
    }

    /// Lets more writes come for the next request of `replica`, until `due` or until somebody waits for one after number
    /// `position`.
    pub async fn gather(&self, replica: u8, position: u64, due: Instant) {
        let mut nudged = std::pin::pin!(self.nudged.notified());
        // Register interest before looking, as above.
        nudged.as_mut().enable();
        let pending = self.own.journal.lag(replica).writes;
        if (1..GATHER_WRITES).contains(&pending) && self.awaited.load(Ordering::Relaxed) <= position {
            let _ = tokio::time::timeout_at(due, nudged).await;
        }
    }

    /// Looks by itself for a while. Whether something came.
    async fn linger(&self, source: &Source, position: u64) -> bool {
        for _ in 0..LINGER_LOOKS {
            let mut nudged = std::pin::pin!(self.nudged.notified());
            nudged.as_mut().enable();
            if source.journal.has_after(position) {
                return true;
            }
            let _ = tokio::time::timeout(LINGER, nudged).await;
        }
        source.journal.has_after(position)
    }

    /// Keeps a rejected write, and with it how far its replica is then.
    pub fn bury(&self, source: &Source, letter: DeadLetter, replica: u8, cursor: &Cursor) {
        let max = self.config.max_dead_letters;
        let dropped = match source.journal.disk() {
            Some(disk) => {
                disk.bury(letter, replica, cursor);
                disk.drop_letters(max)
            }
            None => self.letters.push(letter, max),
        };
        if dropped > 0 && self.dead_dropped.fetch_add(dropped as u64, Ordering::Relaxed) == 0 {
            self.log(
                Level::Error,
                format!(
                    "more than max_dead_letters={max} rejected writes are kept: the oldest are dropped from now on, and \
                     only counted"
                ),
            );
        }
    }

    /// The rejected writes that are kept, oldest first.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        let Some(own) = self.own.journal.disk() else { return Ok(self.letters.all()) };
        if let Err(error) = self.gather_letters() {
            self.log(Level::Error, error.to_string());
        }
        own.letters().map_err(|error| own.error(&error))
    }

    /// Moves all rejected writes to this process's own file. Nothing may be done with them before that has worked: what
    /// stays in another file would come back.
    pub fn gather_letters(&self) -> Result<(), Error> {
        let Some(own) = self.own.journal.disk() else { return Ok(()) };
        for disk in self.adopted().iter().filter_map(|source| source.journal.disk()) {
            let moved = disk.move_letters(own);
            moved.map_err(|error| Error::Journal {
                path: disk.path().display().to_string(),
                problem: letters_left(disk.path(), &error),
            })?;
        }
        Ok(())
    }

    /// Forgets the rejected writes of a replica that was synced from a copy of the primary: they are in the copy.
    pub fn forget_letters(&self, replica: u8) {
        let name = self.name(replica);
        self.letters.remove_of(name);
        for source in self.sources() {
            if let Some(disk) = source.journal.disk() {
                disk.forget_letters(name);
            }
        }
    }

    /// Forgets rejected writes. How many of them were there.
    pub fn discard(&self, keys: &[LetterKey]) -> Result<usize, Error> {
        self.gather_letters()?;
        match self.own.journal.disk() {
            Some(own) => own.discard(keys).map_err(|error| own.error(&error)),
            None => Ok(self.letters.remove(keys)),
        }
    }
}
