//! The whole: takes writes in and runs a task for each replica. How it ends is in [`super::closing`], what becomes of
//! rejected writes in [`super::replay`].

use std::{
    collections::HashSet,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinHandle};

use crate::{
    config::Config,
    ground::{
        error::Error,
        event::{EventSink, Level},
        panics,
        quoted::one_line,
    },
    journal::{self, Appended, Durability, Stopped, Work, Writer},
    replica::{Activity, Command, Resuming, Shared, Status, Task},
    sql::{Plan, PlanCache, ReplicaSet, Rules, SHOWN_BYTES, Skip, replicas_in, shown},
    wire::Client,
    write::{Body, Draft, Reason, Write, waiting::wait},
};

/// Threads that deliver. One: building a text takes it a tenth of a millisecond, and each further thread would have to be
/// woken for what another one got.
const DELIVERY_THREADS: usize = 1;

/// How many writes may wait for the file with `durability="async"` before a caller waits too: some 100 ms of a disk's work.
const MAX_UNSAVED: u64 = 20_000;

/// How soon `flush` looks again whether journals of dead processes still wait.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// For how many texts the user is told that they may differ on a replica. Beyond this there is nothing new to learn
/// from the log; the counter goes on.
const MAX_WARNED_TEXTS: usize = 1_000;

/// A replicator's core: what the binding holds.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    rules: Rules,
    plans: PlanCache,
    skipped: [AtomicU64; Skip::ALL.len()],
    writes: AtomicU64,
    nondeterministic: AtomicU64,
    warned: Mutex<HashSet<u64>>,
    pub(crate) writer: Mutex<Option<Writer>>,
    /// Held while dead letters are replayed or discarded: each at most once.
    pub(crate) replaying: Mutex<()>,
    pub(crate) running: Mutex<Option<Running>>,
}

/// What delivers.
pub(crate) struct Running {
    pub(crate) runtime: Runtime,
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the delivery.
    pub fn start(config: Config, events: EventSink) -> Result<Self, Error> {
        panics::watch();
        config.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(DELIVERY_THREADS)
            .thread_name("afterquery-delivery")
            .enable_all()
            .build()
            .map_err(|error| Error::Start(error.to_string()))?;
        let rules = config.rules();
        let opened = journal::open(config.journal.as_ref(), config.limits(), &config.names())?;
        let shared = Arc::new(Shared::new(config, opened, events));
        detach_what_was_detached(&shared);
        let mut commands = Vec::new();
        let mut tasks = Vec::new();
        for (replica, settings) in shared.config.replicas.iter().enumerate() {
            let client = Client::new(
                settings.endpoint.clone(),
                shared.config.connect_timeout,
                shared.config.request_timeout,
            )?;
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
            let task = Task::new(replica as u8, Arc::clone(&shared), client, receiver, fastrand::u64(..));
            tasks.push(task);
            commands.push(sender);
        }
        shared.set_commands(commands);
        let tasks = tasks.into_iter().map(|task| runtime.spawn(task.run())).collect();
        let writer = start_writer(&shared)?;
        shared.set_writer(writer.as_ref().map(Writer::bell));
        let running = Mutex::new(Some(Running { runtime, tasks }));
        let skipped = Default::default();
        Ok(Self {
            shared,
            rules,
            plans: PlanCache::default(),
            skipped,
            writes: AtomicU64::new(0),
            nondeterministic: AtomicU64::new(0),
            warned: Mutex::default(),
            writer: Mutex::new(writer),
            replaying: Mutex::new(()),
            running,
        })
    }

    /// What is visible of the delivery.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The same, to keep.
    pub fn share(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The rules that texts are planned by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What is done with `sql`. Counts what is skipped of it.
    pub fn plan(&self, sql: &str) -> Arc<Plan> {
        self.count_skips(self.look_up(sql))
    }

    /// Counts what is skipped of a text, and gives its plan back.
    pub fn count_skips(&self, plan: Arc<Plan>) -> Arc<Plan> {
        for &skip in &plan.skipped {
            self.count_skip(skip, 1);
        }
        plan
    }

    /// What is done with `sql`, without counting.
    pub fn look_up(&self, sql: &str) -> Arc<Plan> {
        let (plan, new) = self.plans.get_or_make(sql, || {
            panics::caught("plan", || Plan::new(sql, &self.rules)).unwrap_or_else(|panic| {
                self.shared.log(Level::Error, panic.to_string());
                Plan::failed()
            })
        });
        for &skip in &plan.skipped {
            if new && skip.is_told() {
                self.shared.log(
                    Level::Warning,
                    format!("not replicated: {}: {}", skip.explanation(), self.shown(sql)),
                );
            }
        }
        plan
    }

    /// Counts statements that are not replicated.
    pub fn count_skip(&self, skip: Skip, n: u64) {
        self.skipped[skip as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// The statements not replicated so far, by reason.
    pub fn skipped(&self) -> impl Iterator<Item = (Skip, u64)> + '_ {
        Skip::ALL.into_iter().map(|skip| (skip, self.skipped[skip as usize].load(Ordering::Relaxed)))
    }

    /// Counts a statement that may do something else on a replica.
    pub fn count_nondeterministic(&self) {
        self.nondeterministic.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells the user of such a statement, once for each text.
    pub fn warn_nondeterministic(&self, sql: &str, why: &str) {
        let text = foldhash::fast::FixedState::with_seed(0).hash_one(sql);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < MAX_WARNED_TEXTS && warned.insert(text) {
            let message = format!("replicas may differ: the statement {why}: {}", self.shown(sql));
            self.shared.log(Level::Warning, message);
        }
    }

    /// A text for a log line: its beginning, on one line, without its values unless the user wants to see them.
    pub fn shown(&self, sql: &str) -> String {
        if self.shared.config.log_values { one_line(sql, SHOWN_BYTES) } else { shown(sql) }
    }

    /// The statements so far that may do something else on a replica.
    pub fn nondeterministic(&self) -> u64 {
        self.nondeterministic.load(Ordering::Relaxed)
    }

    /// The writes taken in so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Whether [`Self::submit`] waits for the disk.
    pub fn blocks(&self) -> bool {
        self.shared.own.journal.disk().is_some_and(|disk| disk.durability() != Durability::Async)
    }

    /// Whether [`Self::submit`] may wait for the disk now.
    pub fn waits(&self) -> bool {
        self.blocks() || self.shared.own.journal.unsaved_about() >= MAX_UNSAVED
    }

    /// Hands a write over to the delivery, and to the disk as `durability` says. Does not fail.
    pub fn submit(&self, draft: Draft) -> Arc<Write> {
        let appended = self.shared.own.journal.append(draft);
        let write = self.submitted(appended);
        if self.is_crowded(&write) {
            // Faster than the disk: memory must not grow without end, and no replica is to be given up for it.
            self.shared.own.journal.save_through(write.seq - MAX_UNSAVED / 2);
        }
        if self.blocks() {
            self.shared.own.journal.save_through(write.seq);
            if !self.shared.own.journal.is_saved(write.seq) {
                // The disk failed: the thread goes on trying, and tells.
                self.shared.wake_writer();
            }
        } else if self.shared.own.is_durable() {
            self.shared.wake_writer();
        }
        self.shared.wake();
        write
    }

    /// Whether so many writes are not in the file yet that who hands over waits for the disk.
    pub fn is_crowded(&self, write: &Write) -> bool {
        self.shared.own.journal.disk().is_some_and(|disk| write.seq > disk.saved() + MAX_UNSAVED)
    }

    /// Counts a write that was appended, and detaches what it does not fit for.
    pub(crate) fn submitted(&self, appended: Appended) -> Arc<Write> {
        let Appended { write, absent, full } = appended;
        self.writes.fetch_add(1, Ordering::Relaxed);
        for replica in replicas_in(absent) {
            Status::count(&self.shared.status[replica].rejected, 1);
        }
        if absent != 0 && self.shared.own.journal.is_closed() {
            self.tell_refused();
        }
        self.detach(full);
        write
    }

    fn tell_refused(&self) {
        if self.shared.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            let message = "a write was handed over after close(): it is rejected, and no replica gets it (said once; \
                           stats().refused counts them). Close the replicator after all that write";
            self.shared.log(Level::Error, message.into());
        }
    }

    /// Has replicas detached that are too far behind.
    pub(crate) fn detach(&self, full: ReplicaSet) {
        for replica in replicas_in(full) {
            self.shared.command(replica as u8, Command::Detach);
        }
    }

    /// Hands over write number `seq` of an origin whose numbers are given by somebody else, in order. `None` when it was
    /// handed over before. Numbers that are left out stay empty. Does not wait for the disk: [`Self::sync`] does.
    pub fn submit_as(&self, seq: u64, draft: Draft) -> Option<Arc<Write>> {
        let last = self.shared.own.journal.last();
        if seq <= last {
            return None;
        }
        for _ in last + 1..seq {
            self.shared.own.journal.append(Draft {
                body: Body::Many(Box::default()),
                targets: 0,
                expected: None,
            });
        }
        let write = self.submitted(self.shared.own.journal.append(draft));
        self.shared.wake_writer();
        self.shared.wake();
        Some(write)
    }

    /// Waits until everything handed over so far is in the journal's file, as safe as `durability` makes it. `false` when
    /// that cannot be: the disk fails, or the replicator is closed.
    pub fn sync(&self) -> bool {
        let Some(disk) = self.shared.own.journal.disk() else { return true };
        let saved = self.shared.own.journal.save_all();
        self.shared.wake();
        saved && disk.is_open() && disk.is_in_place()
    }

    /// The index of the replica with this name.
    pub(crate) fn replica(&self, name: &str) -> Result<usize, Error> {
        let names = || self.shared.config.replicas.iter().map(|replica| replica.name.as_str());
        names().position(|known| known == name).ok_or_else(|| {
            let known = names().collect::<Vec<_>>().join(", ");
            Error::UnknownReplica { name: name.into(), known }
        })
    }

    /// Tells a stopped replica to go on. With `skip`, one that halted gives its rejected write up, and so does one that
    /// retries, once that write has failed again by itself. Asked again before it is done, it does nothing more; a replica
    /// that runs goes on as it does. It waits for the disk.
    pub fn resume(&self, name: &str, skip: bool) -> Result<(), Error> {
        let index = self.replica(name)?;
        let (replica, status) = (index as u8, &self.shared.status[index]);
        let is_stopped = |activity| matches!(activity, Activity::Detached | Activity::Diverged);
        if is_stopped(status.condition().activity) {
            self.shared.give_up_waiting(replica)?;
        }
        let asked = status.update(|condition| {
            if condition.resuming.is_some() {
                return false;
            }
            condition.resuming = match condition.activity {
                // Here and not in the task: a write made after this call belongs to the replica again.
                activity if is_stopped(activity) => {
                    Some(Resuming::Copied(self.shared.own.journal.attach(replica)))
                }
                Activity::Halted if !skip => Some(Resuming::Again),
                Activity::Halted | Activity::Retrying if skip => Some(Resuming::Skip),
                _ => None,
            };
            condition.resuming.is_some()
        });
        if asked {
            self.shared.command(replica, Command::Resume);
        }
        Ok(())
    }

    /// The newest open write of each replica: when these are settled, everything submitted until now is. Only a damaged file
    /// makes it fail.
    pub fn open_writes(&self) -> Result<Vec<Arc<Write>>, Reason> {
        let mut writes = Vec::new();
        for source in self.shared.sources() {
            for replica in 0..self.shared.status.len() as u8 {
                match source.journal.last_open(replica) {
                    _ if source.is_finished(replica) => {}
                    open => writes.extend(open?),
                }
            }
        }
        Ok(writes)
    }

    /// Whether nothing is left that dead processes have written and that can be delivered. If there is, it is on its way.
    pub fn has_all(&self) -> bool {
        if self.shared.adoption.waiting() == 0 {
            return true;
        }
        self.shared.adopt() == 0 && self.shared.adoption.waiting() == 0
    }

    /// Waits until everything submitted until now is settled. `false` when `deadline` came first, or `interrupted`
    /// (asked about ten times a second) said so.
    pub fn flush(&self, deadline: Option<Instant>, mut interrupted: impl FnMut() -> bool) -> bool {
        loop {
            self.shared.nudge();
            let open = self.open_writes();
            if !open.is_ok_and(|writes| writes.iter().all(|write| wait(write, deadline, &mut interrupted))) {
                return false;
            }
            if self.has_all() {
                return true;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) || interrupted() {
                return false;
            }
            // Another process is about to end, or to take over what waits.
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// A replica that an earlier process detached gets nothing, from the first write on.
fn detach_what_was_detached(shared: &Shared) {
    for (replica, cursor) in shared.own.cursors.iter().enumerate() {
        if cursor.state.stopped.as_ref().is_some_and(Stopped::is_detached) {
            shared.own.journal.detach(replica as u8);
        }
    }
}

/// Starts the thread that puts writes into the file, where there is one.
fn start_writer(shared: &Arc<Shared>) -> Result<Option<Writer>, Error> {
    if !shared.own.is_durable() {
        return Ok(None);
    }
    let (rest, shared) = (shared.adoption.interval, Arc::clone(shared));
    let work = move || {
        panics::caught("journal", || save(&shared)).unwrap_or_else(|panic| {
            shared.log(Level::Error, panic.to_string());
            Work::Failed
        })
    };
    Writer::start(rest, work).map(Some).map_err(|error| Error::Start(error.to_string()))
}

/// One look of that thread for work.
fn save(shared: &Shared) -> Work {
    let journal = &shared.own.journal;
    let unsaved = journal.unsaved() > 0;
    // Those who wait for their writes save them; one more would only hold them up.
    let found = unsaved && !journal.is_attended();
    if found {
        journal.save_all();
    }
    let failed = shared.sources().iter().fold(false, |failed, source| source.journal.catch_up() | failed);
    shared.adopt_if_due();
    if found {
        shared.wake();
        // What it has put into the file has lingered here already.
        shared.nudge_tasks();
    }
    shared.tell_news();
    if failed {
        Work::Failed
    } else if found {
        Work::Done
    } else if unsaved {
        Work::Others
    } else {
        Work::None
    }
}
