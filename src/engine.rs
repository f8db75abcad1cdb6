//! The whole: takes writes in and runs a task for each replica. How it ends is in [`crate::closing`], what becomes of
//! rejected writes in [`crate::replay`].

use std::{
    collections::HashSet,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{runtime::Runtime, sync::mpsc::UnboundedSender, task::JoinHandle};

use crate::{
    config::{Config, Durability},
    error::Error,
    journal::{self, Appended, Stopped, Work, Writer, replicas_in},
    outcome::wait,
    panics,
    quoted::one_line,
    reason::Reason,
    replica::{Activity, Command, Status, Task},
    shared::{EventSink, Level, Shared},
    sql::{Plan, PlanCache, Rules, SHOWN_BYTES, Skip, shown},
    wire::Client,
    write::{Body, Draft, Write},
};

/// Threads that deliver. One: building a text takes it a tenth of a millisecond, and each further thread would have to be
/// woken for what another one got.
const DELIVERY_THREADS: usize = 1;

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
    pub(crate) commands: Vec<UnboundedSender<Command>>,
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
        let opened = journal::open(&config)?;
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
            tasks.push(runtime.spawn(task.run()));
            commands.push(sender);
        }
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
            commands,
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

    /// Hands a write over to the delivery, and to the disk as `durability` says. Does not fail.
    pub fn submit(&self, draft: Draft) -> Arc<Write> {
        let appended = self.shared.own.journal.append(draft);
        let write = self.submitted(appended);
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

    /// Counts a write that was appended, and detaches what it does not fit for.
    pub(crate) fn submitted(&self, appended: Appended) -> Arc<Write> {
        let Appended { write, absent, full } = appended;
        self.writes.fetch_add(1, Ordering::Relaxed);
        for replica in replicas_in(absent) {
            Status::count(&self.shared.status[replica].rejected, 1);
        }
        for replica in replicas_in(full) {
            // The task is gone only when the engine is closed, and then nothing is pending.
            let _ = self.commands[replica].send(Command::Detach);
        }
        write
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
        saved && disk.is_open()
    }

    /// The index of the replica with this name.
    pub(crate) fn replica(&self, name: &str) -> Result<usize, Error> {
        let names = || self.shared.config.replicas.iter().map(|replica| replica.name.as_str());
        names().position(|known| known == name).ok_or_else(|| {
            let known = names().collect::<Vec<_>>().join(", ");
            Error::UnknownReplica { name: name.into(), known }
        })
    }

    /// Tells a stopped replica to go on. With `skip`, a halted one gives its rejected write up.
    pub fn resume(&self, name: &str, skip: bool) -> Result<(), Error> {
        let replica = self.replica(name)?;
        let activity = self.shared.status[replica].condition().activity;
        // Here and not in the task: a write made after this call belongs to the replica again.
        let copied = matches!(activity, Activity::Detached | Activity::Diverged)
            .then(|| self.shared.own.journal.attach(replica as u8));
        let _ = self.commands[replica].send(Command::Resume { skip, copied });
        Ok(())
    }

    /// The newest open write of each replica: when these are settled, everything submitted until now is. Only a damaged file
    /// makes it fail.
    pub fn open_writes(&self) -> Result<Vec<Arc<Write>>, Reason> {
        let mut writes = Vec::new();
        for source in self.shared.sources() {
            for replica in (0..self.shared.status.len() as u8).filter(|&replica| !source.is_finished(replica))
            {
                writes.extend(source.journal.last_open(replica)?);
            }
        }
        Ok(writes)
    }

    /// Waits until everything submitted until now is settled. `false` when `deadline` came first, or `interrupted`
    /// (asked about ten times a second) said so.
    pub fn flush(&self, deadline: Option<Instant>, mut interrupted: impl FnMut() -> bool) -> bool {
        self.shared.nudge();
        let open = self.open_writes();
        open.is_ok_and(|writes| writes.iter().all(|write| wait(write, deadline, &mut interrupted)))
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
    let shared = Arc::clone(shared);
    let work = move || {
        panics::caught("journal", || save(&shared)).unwrap_or_else(|panic| {
            shared.log(Level::Error, panic.to_string());
            Work::Failed
        })
    };
    Writer::start(work).map(Some).map_err(|error| Error::Start(error.to_string()))
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
    let failed = shared.sources().fold(false, |failed, source| source.journal.catch_up() | failed);
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
