//! The task that owns one replica: order is kept because nobody else sends there, and because it never has
//! more than one batch under way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};

use super::{
    backoff::{Backoff, Breaker},
    delivery::Delivery,
    status::{Activity, Status},
};
use crate::{
    journal::{Cursor, Disk, Stopped, letters_left},
    panics::{self, Panic},
    reason::{Reason, ReasonCode},
    shared::{Level, Shared},
    source::Source,
    wire::{Client, Verdict, judge, retire},
    write::Write,
};

/// How often an idle task shows the replica that its origin still lives (see `wire::watermark::ORPHAN_SECONDS`).
pub(super) const TOUCH: Duration = Duration::from_secs(86_400);

/// How soon a task tries again to save what the disk did not take.
const DEBT: Duration = Duration::from_secs(1);

/// What a task is told.
#[derive(Debug, Clone)]
pub enum Command {
    /// Its replica is too far behind.
    Detach,
    /// Go on, as [`super::status::Resuming`] says.
    Resume,
    /// A process has died and left this to be delivered.
    Adopt(Arc<Source>),
    /// Everything is settled or out of time: leave the replica tidy and end.
    Finish,
}

/// One replica's task.
#[derive(Debug)]
pub struct Task {
    pub(super) replica: u8,
    pub(super) shared: Arc<Shared>,
    pub(super) client: Client,
    pub(super) backoff: Backoff,
    pub(super) delivery: Delivery,
    /// What is being delivered.
    pub(super) source: Arc<Source>,
    /// What comes after it.
    pub(super) next: VecDeque<Arc<Source>>,
    /// Where it was with this process's own writes when it turned to those of a process that died.
    left: Option<(Delivery, Cursor)>,
    /// Whether its source's file is open for it.
    entered: bool,
    /// The cursor as it was last saved.
    kept: Cursor,
    /// Cursors of sources that are done with, which could not be saved yet because the disk failed.
    debts: Vec<(Arc<Source>, Cursor)>,
    /// Why the file could not be read, when it has to be tried again.
    pub(super) unreadable: Option<Reason>,
    /// The panic that ended the last step.
    stumbled: Option<Reason>,
    /// From when on it sends a small batch.
    pub(super) due: Option<Instant>,
    /// Where it was when it last had nothing to do.
    rested_at: u64,
    commands: UnboundedReceiver<Command>,
}

impl Task {
    /// A task for replica number `replica`.
    pub fn new(
        replica: u8,
        shared: Arc<Shared>,
        client: Client,
        commands: UnboundedReceiver<Command>,
        seed: u64,
    ) -> Self {
        let backoff = Backoff::new(shared.config.retry_base, shared.config.retry_max, seed);
        let (source, next) = (Arc::clone(&shared.own), shared.sources().into());
        let (delivery, kept) = Default::default();
        Self {
            replica,
            shared,
            client,
            backoff,
            delivery,
            source,
            next,
            left: None,
            entered: false,
            kept,
            debts: Vec::new(),
            unreadable: None,
            stumbled: None,
            due: None,
            rested_at: 0,
            commands,
        }
    }

    /// Delivers until it is told to finish.
    pub async fn run(mut self) {
        self.guarded(Self::begin);
        loop {
            // What a step has learnt is kept in `delivery` before each await, so a step may be cut short here.
            let command = match self.next_command().await {
                Some(command) => command,
                None => return,
            };
            match command {
                Command::Detach => self.guarded(Self::detach),
                Command::Resume => {
                    self.guarded(Self::resume);
                    // Taken back when it is done: until then, asking once more changes nothing.
                    self.status().update(|condition| condition.resuming = None);
                }
                Command::Adopt(source) => self.guarded(|task| task.adopt(source)),
                Command::Finish => break,
            }
        }
        let shared = Arc::clone(&self.shared);
        if let Err(panic) = panics::caught_in("finish", self.finish()).await {
            shared.log(Level::Error, panic.to_string());
        }
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        if let Err(panic) = panics::caught("command", || work(self)) {
            self.go_on_after(&panic);
        }
    }

    /// Goes on after a panic as a new process would: from what was kept before the last text was sent.
    fn go_on_after(&mut self, panic: &Panic) {
        let name = self.shared.name(self.replica);
        self.log(Level::Error, format!("replica {name}: {panic}; trying again"));
        self.delivery.begin_again(&self.kept);
        self.unreadable = None;
        self.stumbled = Some(Reason::new(ReasonCode::Panic, panic.to_string()));
    }

    /// Works until a command comes. `None` when nobody can send one any more.
    async fn next_command(&mut self) -> Option<Command> {
        let (sender, mut commands) = tokio::sync::mpsc::unbounded_channel();
        std::mem::swap(&mut commands, &mut self.commands);
        let command = loop {
            if !self.status().condition().activity.is_active() {
                break commands.recv().await;
            }
            tokio::select! {
                biased;
                command = commands.recv() => break command,
                () = self.work() => {}
            }
        };
        self.commands = commands;
        drop(sender);
        command
    }

    /// One step, or the pause after one that panicked.
    async fn work(&mut self) {
        if let Some(reason) = self.stumbled.take() {
            if panics::caught_in("pause", self.pause(None, reason)).await.is_err() {
                tokio::time::sleep(DEBT).await;
            }
        } else if let Err(panic) = panics::caught_in("delivery", self.step()).await {
            self.go_on_after(&panic);
        }
    }

    /// Goes on to the next source, or waits until something was appended, or until it is time to show that the origin
    /// lives.
    pub(super) async fn idle(&mut self) {
        self.keep();
        self.collect(true);
        if !self.next.is_empty() {
            return self.leave().await;
        }
        // Everything got through.
        self.delivery.gives_up = None;
        let position = self.delivery.position;
        let busy = std::mem::replace(&mut self.rested_at, position) != position;
        self.shared.running().await;
        let waited = self.shared.wait_after(&self.source, position, busy);
        // What the file does not know yet would look like somebody else's to the next process.
        let longest = if self.owes() { DEBT } else { TOUCH };
        let _ = tokio::time::timeout(longest, waited).await;
    }

    /// Ends with a source of a dead process, from which this replica has everything.
    async fn leave(&mut self) {
        if self.delivery.standing.is_some() && !self.source.is_named() {
            match self.ask(&retire(&self.source.origin)).await {
                // Where the table is gone there is nothing to retire.
                Verdict::Delivered(_) | Verdict::Reject { .. } => {}
                Verdict::Retry { after, reason } => return self.pause(after, reason).await,
            }
        }
        self.finish_source();
        self.begin();
    }

    /// Notes that this replica needs nothing more of its source, and removes the file when that is true of all.
    pub(super) fn finish_source(&mut self) {
        self.delivery.finished = true;
        self.debts.push((Arc::clone(&self.source), self.delivery.cursor()));
        self.pay();
    }

    /// Saves what could not be saved before, and ends the sources that are done with.
    fn pay(&mut self) {
        for (source, cursor) in std::mem::take(&mut self.debts) {
            if !self.blocking(|task| source.journal.save_cursor(task.replica, &cursor)) {
                self.debts.push((source, cursor));
            } else if source.finish(self.replica, self.shared.all()) {
                self.blocking(|task| task.end_source(&source));
            }
        }
    }

    /// The same, for the last time.
    pub(super) fn pay_at_last(&mut self) {
        self.debts.iter().filter_map(|(source, _)| source.journal.disk()).for_each(Disk::try_again);
        self.pay();
    }

    fn owes(&self) -> bool {
        !self.debts.is_empty() || self.source.is_durable() && self.delivery.cursor() != self.kept
    }

    fn end_source(&self, source: &Source) {
        let (Some(disk), Some(own)) = (source.journal.disk(), self.shared.own.journal.disk()) else {
            return;
        };
        match disk.move_letters(own) {
            Ok(()) => {
                if !disk.end(true) {
                    // It holds something for a replica that is not among the settings, or only its numbers.
                    self.shared.adoption.pass_over(disk.path());
                }
                self.shared.remove_adopted(source);
            }
            // It is found again by the next process.
            Err(error) => self.log(Level::Error, letters_left(disk.path(), &error)),
        }
    }

    /// Takes up the next source that has something for this replica; the last one in any case.
    pub(super) fn begin(&mut self) {
        while let Some(next) = self.next.pop_front() {
            self.take_up(next);
            if let Some((activity, reason)) = self.stopped_in_line() {
                return self.stop_again(activity, reason);
            }
            let untouched =
                self.delivery.standing.is_none() && !self.source.journal.has_after(self.delivery.position);
            if self.next.is_empty() || !(self.delivery.finished || untouched) {
                return;
            }
            self.finish_source();
        }
    }

    /// Why this replica gets nothing more, whichever of the sources in line says so: what stands before that one was handed
    /// over before the replica is synced, too, and would be in the copy a second time.
    fn stopped_in_line(&self) -> Option<(Activity, Reason)> {
        let index = usize::from(self.replica);
        // Where it was left, this process's own is not as it was found any more.
        let is_new = |source: &&Arc<Source>| self.left.is_none() || !Arc::ptr_eq(source, &self.shared.own);
        let in_line =
            self.next.iter().filter(is_new).find_map(|next| next.cursors[index].state.stopped.as_ref());
        self.delivery.stopped.as_ref().or(in_line).map(Stopped::restore)
    }

    /// Takes up a source where the last process left it.
    pub(super) fn take_up(&mut self, source: Arc<Source>) {
        if let Some(disk) = source.journal.disk() {
            disk.enter();
        }
        let before = std::mem::replace(&mut self.source, source);
        if let Some(disk) = before.journal.disk().filter(|_| std::mem::replace(&mut self.entered, true)) {
            disk.leave();
        }
        if let Some((delivery, kept)) = self.left.take_if(|_| Arc::ptr_eq(&self.source, &self.shared.own)) {
            (self.delivery, self.kept) = (delivery, kept);
            return;
        }
        self.kept = self.source.cursors[usize::from(self.replica)].clone();
        self.delivery = Delivery::restore(&self.kept);
    }

    /// Takes note of what a process has left that died: it comes before this process's own writes.
    fn adopt(&mut self, source: Arc<Source>) {
        // This process's own is the last in line, or is being delivered.
        let at = if self.is_own() { self.next.len() } else { self.next.len().saturating_sub(1) };
        self.next.insert(at, source);
        if self.is_own() && self.status().condition().activity.is_active() {
            self.turn();
        }
    }

    /// Leaves this process's own writes for those of processes that have died, and comes back to them.
    pub(super) fn turn(&mut self) {
        if self.next.is_empty() || !self.is_own() {
            return;
        }
        self.keep();
        self.leave_own();
        self.next.push_back(Arc::clone(&self.shared.own));
        self.begin();
    }

    pub(super) fn leave_own(&mut self) {
        self.left = Some((std::mem::take(&mut self.delivery), self.kept.clone()));
    }

    /// Reads the source's writes after this replica's position. `None` when its file is damaged, and the
    /// replica stopped, or cannot be read now.
    pub(super) fn read(&mut self, take: impl FnMut(&Arc<Write>) -> bool) -> Option<u64> {
        let read = self.source.journal.read_after(self.delivery.position, self.replica, take);
        match read {
            Ok(passed) => return Some(passed),
            Err(reason) if reason.code == ReasonCode::Journal => self.stop(Activity::Diverged, reason),
            Err(reason) => self.unreadable = Some(reason),
        }
        None
    }

    /// Keeps how far this replica is, for the process that may come after.
    pub(super) fn keep(&mut self) {
        if !self.debts.is_empty() {
            self.pay();
        }
        if !self.source.is_durable() {
            self.kept = self.delivery.cursor();
        } else {
            let cursor = self.delivery.cursor();
            if cursor != self.kept {
                let sendable = self.source.journal.sendable();
                // What could not be kept is tried again the next time.
                if self.blocking(|task| task.source.journal.save_cursor(task.replica, &cursor)) {
                    self.kept = cursor;
                    self.collect(false);
                }
                if self.source.journal.sendable() > sendable {
                    // Writes went with it that nobody else announces.
                    self.shared.wake();
                }
            }
        }
    }

    fn collect(&self, idle: bool) {
        if self.source.is_durable() {
            while self.blocking(|task| task.source.journal.collect(idle)) {}
        }
    }

    /// Runs something that may wait for the disk; the other replicas' tasks go on meanwhile.
    pub(super) fn blocking<T>(&self, run: impl FnOnce(&Self) -> T) -> T {
        if self.source.is_durable() { tokio::task::block_in_place(|| run(self)) } else { run(self) }
    }

    /// Sends `sql` and judges the answer.
    pub(super) async fn ask(&self, sql: &str) -> Verdict {
        self.shared.running().await;
        Status::count(&self.status().requests, 1);
        if self.backoff.is_open() {
            self.status().update(|condition| condition.breaker = Breaker::HalfOpen);
        }
        let answer = self.client.query(sql).await;
        let answer = match &answer {
            Ok((status, retry_after, body)) => Ok((*status, retry_after.as_deref(), body.as_slice())),
            Err(error) => Err(error),
        };
        let hidden = (!self.shared.config.log_values).then_some(sql);
        judge(answer, hidden, std::time::SystemTime::now())
    }

    /// Notes a failure and waits.
    pub(super) async fn pause(&mut self, after: Option<Duration>, reason: Reason) {
        Status::count(&self.status().retries, 1);
        let pause = self.backoff.fail(after);
        let max = self.shared.config.journal.as_ref().map_or(usize::MAX, |journal| journal.max_bytes);
        if self.shared.lag(self.replica).bytes > max {
            return self.detach();
        }
        self.tell_failure(&reason);
        let breaker = if self.backoff.is_open() { Breaker::Open } else { Breaker::Closed };
        self.status().update(|condition| {
            condition.activity = Activity::Retrying;
            condition.breaker = breaker;
            condition.reason = Some(reason);
        });
        self.shared.running().await;
        tokio::time::sleep(pause).await;
    }

    /// Logs the first failure of a row and the one that makes the replica count as down, not each.
    fn tell_failure(&self, reason: &Reason) {
        let name = self.shared.name(self.replica);
        if reason.code.is_setup() && self.backoff.is_first() {
            self.log(
                Level::Error,
                format!("replica {name}: {reason}; its writes wait until this is set right"),
            );
        } else if self.backoff.is_first() {
            self.log(Level::Info, format!("replica {name}: {reason}; trying again"));
        } else if self.backoff.just_opened() {
            self.log(Level::Warning, format!("replica {name} is down: {reason}; its writes wait"));
        }
    }

    /// Notes that the replica answered as it should.
    pub(super) fn recover(&mut self) {
        let was_open = self.backoff.is_open();
        if self.backoff.succeed() && was_open {
            self.log(Level::Info, format!("replica {} is back", self.shared.name(self.replica)));
        }
        self.status().update(|condition| {
            condition.activity = Activity::Live;
            condition.breaker = Breaker::Closed;
            condition.reason = None;
        });
    }

    pub(super) fn status(&self) -> &Status {
        &self.shared.status[usize::from(self.replica)]
    }

    pub(super) fn log(&self, level: Level, message: String) {
        self.shared.log(level, message);
    }
}
