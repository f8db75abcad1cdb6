//! The whole: takes writes in, runs a task for each replica, and ends within a deadline.

use std::{
    cell::Cell,
    collections::HashSet,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, sync::mpsc::UnboundedSender, task::JoinHandle};

use crate::{
    config::{Config, Durability, MAX_LITERAL_BYTES, MAX_SQL_BYTES},
    error::Error,
    journal::{self, Appended, DeadLetter, LetterKey, Stopped, Work, Writer, replicas_in},
    outcome::{self, Waiter},
    reason::{Reason, ReasonCode},
    replica::{Activity, Command, Status, Task},
    shared::{EventSink, Level, Shared},
    sql::{Parameters, Plan, PlanCache, PlannedStatement, Rendered, ReplicaSet, Rules, Skip},
    wire::Client,
    write::{Body, Draft, SentStatement, Write},
};

/// Threads that deliver. Two, so that building one replica's text does not hold up another's answer.
const DELIVERY_THREADS: usize = 2;

/// A statement is rendered anew with smaller literals when it takes more than this: the rest of
/// [`MAX_SQL_BYTES`] is for the watermark around it.
const MAX_STATEMENT_BYTES: usize = MAX_SQL_BYTES - 2_000;

/// For how many texts the user is told that they may differ on a replica. Beyond this there is nothing new to learn
/// from the log; the counter goes on.
const MAX_WARNED_TEXTS: usize = 1_000;

/// How long the tasks may take, all together, to leave their replicas tidy after everything is settled.
const FINISH: Duration = Duration::from_secs(1);

/// A replicator's core: what the binding holds.
pub struct Engine {
    shared: Arc<Shared>,
    rules: Rules,
    plans: PlanCache,
    skipped: [AtomicU64; Skip::ALL.len()],
    writes: AtomicU64,
    nondeterministic: AtomicU64,
    warned: Mutex<HashSet<u64>>,
    commands: Vec<UnboundedSender<Command>>,
    writer: Mutex<Option<Writer>>,
    /// Held while dead letters are replayed or discarded: each at most once.
    replaying: Mutex<()>,
    running: Mutex<Option<Running>>,
}

struct Running {
    runtime: Runtime,
    tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// How the parameters of a call are to be read.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// One set of parameters, for the text run once.
    One(&'a dyn ParameterSet),
    /// Several: the text was run once with each, as one write.
    Many(&'a [&'a dyn ParameterSet]),
}

/// The parameters of one execution.
pub trait ParameterSet {
    /// The number of values, where they are a sequence.
    fn count(&self) -> Option<usize>;
    /// The values of one statement: those of a sequence from number `first` (from 0) on.
    fn statement(&self, first: u32) -> Box<dyn Parameters + '_>;
}

impl Engine {
    /// Starts the delivery.
    pub fn start(config: Config, events: EventSink) -> Result<Self, Error> {
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
        let plan = self.look_up(sql);
        for &skip in &plan.skipped {
            self.count_skip(skip, 1);
        }
        plan
    }

    /// What is done with `sql`, without counting.
    pub fn look_up(&self, sql: &str) -> Arc<Plan> {
        let (plan, new) = self.plans.get_or_make(sql, || Plan::new(sql, &self.rules));
        for &skip in &plan.skipped {
            if new && matches!(skip, Skip::Unparsed | Skip::Temp | Skip::Attached) {
                self.shared
                    .log(Level::Warning, format!("not replicated: {}: {}", skip.explanation(), shorten(sql)));
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
            let message = format!("replicas may differ: the statement {why}: {}", shorten(sql));
            self.shared.log(Level::Warning, message);
        }
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
            if self.shared.own.journal.unsaved() > 0 {
                // The disk failed: the thread goes on trying, and tells.
                self.shared.wake_writer();
            }
        } else if self.shared.own.is_durable() {
            self.shared.wake_writer();
        }
        self.shared.wake();
        write
    }

    fn submitted(&self, appended: Appended) -> Arc<Write> {
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

    /// Submits rejected writes again, each to the one replica that rejected it, and forgets the dead letters in the same
    /// step. Left out are those that are not there any more, and those of replicas that take no writes now.
    pub fn replay(&self, keys: Option<&[LetterKey]>) -> Result<Vec<Arc<Write>>, Error> {
        let _one_at_a_time = self.replaying.lock().unwrap_or_else(PoisonError::into_inner);
        let letters = self.shared.dead_letters()?;
        if let Some(problem) = self.shared.own.problem() {
            // Sent from memory, and then a crash: the letter would still be in the file.
            return Err(Error::Journal { path: self.shared.own.origin.clone(), problem });
        }
        let wanted = |letter: &DeadLetter| {
            let takes = |replica| self.shared.own.journal.takes(replica as u8);
            keys.is_none_or(|keys| keys.contains(&letter.key))
                && self.replica(&letter.key.replica).map_or(true, takes)
        };
        let letters: Vec<_> = letters.into_iter().filter(wanted).collect();
        let keys: Vec<_> = letters.iter().map(|letter| letter.key.clone()).collect();
        let drafts = letters.into_iter().map(|letter| self.redraft(letter)).collect::<Result<Vec<_>, _>>()?;
        if !self.shared.own.is_durable() {
            self.shared.discard(&keys)?;
        }
        let writes = self.shared.own.journal.replay(drafts);
        let writes = writes.into_iter().map(|appended| self.submitted(appended)).collect();
        self.shared.wake_writer();
        self.shared.wake();
        Ok(writes)
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
    /// that cannot be: the disk fails.
    pub fn sync(&self) -> bool {
        self.shared.own.journal.save_all() || !self.shared.own.is_durable()
    }

    fn redraft(&self, letter: DeadLetter) -> Result<(LetterKey, Draft), Error> {
        let targets = 1 << self.replica(&letter.key.replica)?;
        let mut body = letter.body;
        body.retarget(targets);
        Ok((letter.key, Draft { body, targets, expected: letter.expected }))
    }

    /// Forgets rejected writes. How many of them were there.
    pub fn discard(&self, keys: Option<&[LetterKey]>) -> Result<usize, Error> {
        let _one_at_a_time = self.replaying.lock().unwrap_or_else(PoisonError::into_inner);
        match keys {
            Some(keys) => self.shared.discard(keys),
            None => {
                let all: Vec<_> = self.shared.dead_letters()?.into_iter().map(|letter| letter.key).collect();
                self.shared.discard(&all)
            }
        }
    }

    /// The index of the replica with this name.
    fn replica(&self, name: &str) -> Result<usize, Error> {
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

    /// Ends the delivery: what is settled by `deadline` is. The rest stays in the journal's file; without one it is
    /// rejected as closed. Both with an error in the log. Whether everything was settled. Closing twice is harmless.
    pub fn close(&self, deadline: Option<Instant>, interrupted: impl FnMut() -> bool) -> bool {
        if !self.shared.own.is_durable() {
            self.shared.own.journal.close();
        }
        self.shared.own.journal.save_all();
        self.shared.wake();
        let flushed = self.flush(deadline, interrupted);
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return flushed;
        };
        for commands in &self.commands {
            let _ = commands.send(Command::Finish);
        }
        let Running { runtime, tasks } = running;
        runtime.block_on(async {
            let end = tokio::time::Instant::now() + FINISH;
            for task in tasks {
                let abort = task.abort_handle();
                if tokio::time::timeout_at(end, task).await.is_err() {
                    abort.abort();
                }
            }
        });
        runtime.shutdown_background();
        self.leave_rest();
        flushed
    }

    /// Gives up what is not settled, or leaves it to the next process.
    fn leave_rest(&self) {
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.end();
        }
        // From here on nothing is accepted. Until now a file took what threads wrote that do not know of the end.
        self.shared.own.journal.close();
        self.shared.own.journal.save_again();
        let lost = self.shared.own.journal.unsaved();
        for replica in 0..self.shared.status.len() as u8 {
            self.leave_replica(replica, lost);
        }
        for source in self.shared.sources() {
            source.journal.abandon();
            if let Some(disk) = source.journal.disk() {
                disk.end();
            }
        }
        self.shared.tell_news();
    }

    fn leave_replica(&self, replica: u8, lost: u64) {
        let name = self.shared.name(replica);
        let why = self.shared.status[usize::from(replica)].condition().reason;
        let why = why.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let count = self.shared.lag(replica).writes;
        if count == 0 {
            return;
        }
        let kept = match self.shared.own.journal.disk() {
            Some(disk) if lost == 0 => {
                let directory = disk.path().parent().unwrap_or(disk.path()).display();
                format!("; they are kept in {directory}, and the next process that uses it delivers them")
            }
            Some(_) => format!("; {lost} could not be put into the journal and are lost"),
            None => {
                let reason = Reason::new(
                    ReasonCode::Closed,
                    "the replicator was closed before the replica confirmed the write; it may or may not have arrived",
                );
                let count = self.shared.own.journal.settle_all(replica, u64::MAX, &reason);
                Status::count(&self.shared.status[usize::from(replica)].rejected, count as u64);
                String::new()
            }
        };
        let message = format!("closed with {count} writes that replica {name} did not confirm{why}{kept}");
        self.shared.log(Level::Error, message);
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
        let journal = &shared.own.journal;
        let found = journal.unsaved() > 0;
        journal.save_all();
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
        } else {
            Work::None
        }
    };
    Writer::start(work).map(Some).map_err(|error| Error::Start(error.to_string()))
}

/// Blocks until `write` is settled, or `deadline` comes, or `interrupted` says so. Whether it is settled.
pub fn wait(write: &Write, deadline: Option<Instant>, interrupted: &mut impl FnMut() -> bool) -> bool {
    const SLICE: Duration = Duration::from_millis(100);
    while write.settlement.wait(Waiter::Thread(thread::current())) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) || interrupted() {
            return write.settlement.is_settled();
        }
        thread::park_timeout(left.unwrap_or(SLICE).min(SLICE));
    }
    // Nobody will wake us: it is settled, or it was left to the next process.
    write.settlement.is_settled()
}

/// Completes when all of `writes` are settled.
pub async fn all_settled(writes: Vec<Arc<Write>>) -> bool {
    for write in &writes {
        outcome::settled(Arc::clone(write)).await;
    }
    writes.iter().all(|write| write.settlement.is_settled())
}

/// Puts the parameters into a plan's statements. What cannot be sent becomes a body that says so.
pub fn render(plan: &Plan, values: Values<'_>, out: &mut Vec<SentStatement>) -> Result<(), Reason> {
    match values {
        Values::One(set) => render_set(plan, set, out),
        Values::Many(sets) => sets.iter().enumerate().try_for_each(|(at, set)| {
            render_set(plan, *set, out).map_err(|reason| {
                Reason::new(reason.code, format!("row {} of many: {}", at + 1, reason.message))
            })
        }),
    }
}

fn render_set(plan: &Plan, set: &dyn ParameterSet, out: &mut Vec<SentStatement>) -> Result<(), Reason> {
    let wrong = |message: String| Reason::new(ReasonCode::Parameters, message);
    if let Some(given) = set.count()
        && given != plan.parameters as usize
    {
        return Err(wrong(format!("the statement takes {} parameters, {given} were given", plan.parameters)));
    }
    for statement in &plan.statements {
        let parameters = set.statement(statement.first_parameter);
        out.push(render_statement(statement, &*parameters).map_err(wrong)?);
    }
    Ok(())
}

fn render_statement(
    statement: &PlannedStatement,
    parameters: &dyn Parameters,
) -> Result<SentStatement, String> {
    // Two rounds are enough: with literals this short, only the text itself can still be too long.
    const SHORT_LITERAL_BYTES: usize = 200;
    let mut rendered = statement.template.render_into(SCRATCH.take(), parameters, MAX_LITERAL_BYTES)?;
    if rendered.sql.len() > MAX_STATEMENT_BYTES {
        rendered = statement.template.render_into(rendered.sql, parameters, SHORT_LITERAL_BYTES)?;
    }
    let Rendered { sql, large } = rendered;
    let large = (!large.is_empty()).then(|| Box::new(large));
    let sent = SentStatement { sql: sql.as_str().into(), large, targets: statement.targets };
    if sql.capacity() <= MAX_SCRATCH_BYTES {
        SCRATCH.set(sql);
    }
    Ok(sent)
}

thread_local! {
    /// Where a statement is rendered before its exact length is known: one that grew in place would keep more memory than
    /// it needs for as long as it is pending. Taken and not borrowed, because a parameter's adapter may write, too.
    static SCRATCH: Cell<String> = const { Cell::new(String::new()) };
}

/// A buffer that has become larger is let go.
const MAX_SCRATCH_BYTES: usize = 1 << 16;

/// Makes the draft of a write. Rejected ones keep the plan's targets, so that each replica tells.
pub fn draft(
    statements: Result<Vec<SentStatement>, Reason>,
    targets: ReplicaSet,
    expected: Option<i64>,
) -> Draft {
    let body = match statements {
        Ok(mut statements) if statements.len() == 1 => match statements.pop() {
            Some(statement) => Body::One(statement),
            None => Body::Many(Box::default()),
        },
        Ok(statements) => Body::Many(statements.into()),
        Err(reason) => Body::Unsendable(Box::new(reason)),
    };
    Draft { body, targets, expected }
}

/// A text for a log line: its beginning, on one line.
fn shorten(sql: &str) -> String {
    const SHOWN: usize = 120;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // Dropping a runtime waits for its tasks, and may be done on any thread.
            running.runtime.shutdown_background();
            self.leave_rest();
        }
    }
}
