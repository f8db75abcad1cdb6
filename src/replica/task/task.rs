//! The task that owns one replica: order is kept because nobody else sends there, and because it never has
//! more than one batch under way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};

use crate::{
    ground::{
        event::Level,
        panics::{self, Panic},
    },
    journal::{Cursor, Source},
    replica::{
        delivery::delivery::{Delivery, TOUCH},
        shared::{
            backoff::Backoff,
            command::Command,
            shared::Shared,
            status::{Activity, Status},
        },
    },
    wire::Client,
    write::{Reason, ReasonCode, Write},
};

/// How soon a task tries again to save what the disk did not take.
const DEBT: Duration = Duration::from_secs(1);

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
    pub(super) left: Option<(Delivery, Cursor)>,
    /// Whether its source's file is open for it.
    pub(super) entered: bool,
    /// The cursor as it was last saved.
    pub(super) kept: Cursor,
    /// Cursors of sources that are done with, which could not be saved yet because the disk failed.
    pub(super) debts: Vec<(Arc<Source>, Cursor)>,
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

    pub(super) fn status(&self) -> &Status {
        &self.shared.status[usize::from(self.replica)]
    }

    pub(super) fn log(&self, level: Level, message: String) {
        self.shared.log(level, message);
    }
}
