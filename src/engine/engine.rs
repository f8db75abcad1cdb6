//! The whole: takes writes in and runs a task for each replica. What it does is in the files beside
//! this one, by subject.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{runtime::Runtime, task::JoinHandle};

use super::saving::start_writer;
use crate::{
    config::Config,
    ground::{error::Error, event::EventSink, panics},
    journal::{self, Stopped, Writer},
    replica::{Shared, Task},
    sql::{PlanCache, Rules, Skip},
    wire::Client,
};

/// Threads that deliver. One: building a text takes it a tenth of a millisecond, and each further thread would have to be
/// woken for what another one got.
const DELIVERY_THREADS: usize = 1;

/// A replicator's core: what the binding holds.
pub struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Rules,
    pub(super) plans: PlanCache,
    pub(super) skipped: [AtomicU64; Skip::ALL.len()],
    pub(super) writes: AtomicU64,
    pub(super) nondeterministic: AtomicU64,
    pub(super) warned: Mutex<HashSet<u64>>,
    pub(super) writer: Mutex<Option<Writer>>,
    /// Held while dead letters are replayed or discarded: each at most once.
    pub(super) replaying: Mutex<()>,
    pub(super) running: Mutex<Option<Running>>,
}

/// What delivers.
pub(super) struct Running {
    pub(super) runtime: Runtime,
    pub(super) tasks: Vec<JoinHandle<()>>,
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

    /// The writes taken in so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
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
