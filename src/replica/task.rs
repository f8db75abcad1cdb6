//! The task that owns one replica: order is kept because nobody else sends there, and because it never has
//! more than one batch under way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    backoff::{Backoff, Breaker},
    delivery::Delivery,
    status::{Activity, Status},
};
use crate::{
    reason::{Reason, ReasonCode},
    shared::{Level, Shared},
    wire::{Client, Verdict, forget, judge},
};

/// How often an idle task shows the replica that its origin still lives (see `wire::watermark::ORPHAN_SECONDS`).
const TOUCH: Duration = Duration::from_secs(86_400);

/// What a task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Its replica is too far behind.
    Detach,
    /// Go on after a halt, a detachment or a divergence.
    Resume {
        /// After a halt: give the rejected write up instead of trying it again.
        skip: bool,
        /// After the others: the number of the last write that is in the copy the replica was synced from.
        copied: Option<u64>,
    },
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
        Self { replica, shared, client, backoff, delivery: Delivery::default(), commands }
    }

    /// Delivers until it is told to finish.
    pub async fn run(mut self) {
        loop {
            // What a step has learnt is kept in `delivery` before each await, so a step may be cut short here.
            let command = match self.next_command().await {
                Some(command) => command,
                None => return,
            };
            match command {
                Command::Detach => self.detach(),
                Command::Resume { skip, copied } => self.resume(skip, copied),
                Command::Finish => return self.finish().await,
            }
        }
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
                () = self.step() => {}
            }
        };
        self.commands = commands;
        drop(sender);
        command
    }

    /// Waits until something was appended, or until it is time to show that the origin lives.
    pub(super) async fn idle(&mut self) {
        let waited = tokio::time::timeout(TOUCH, self.shared.wait_after(self.delivery.position)).await;
        if waited.is_err() {
            self.delivery.greeted = false;
        }
    }

    /// Sends `sql` and judges the answer.
    pub(super) async fn ask(&self, sql: &str) -> Verdict {
        Status::count(&self.status().requests, 1);
        if self.backoff.is_open() {
            self.status().update(|condition| condition.breaker = Breaker::HalfOpen);
        }
        let answer = self.client.query(sql).await;
        let answer = match &answer {
            Ok((status, retry_after, body)) => Ok((*status, retry_after.as_deref(), body.as_slice())),
            Err(error) => Err(error),
        };
        judge(answer, std::time::SystemTime::now())
    }

    /// Notes a failure and waits.
    pub(super) async fn pause(&mut self, after: Option<Duration>, reason: Reason) {
        Status::count(&self.status().retries, 1);
        let pause = self.backoff.fail(after);
        self.tell_failure(&reason);
        let breaker = if self.backoff.is_open() { Breaker::Open } else { Breaker::Closed };
        self.status().update(|condition| {
            condition.activity = Activity::Retrying;
            condition.breaker = breaker;
            condition.reason = Some(reason);
        });
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

    /// Stops delivering for a reason that only the user can clear.
    pub(super) fn stop(&mut self, activity: Activity, reason: Reason) {
        self.status().diverged.store(true, Ordering::Relaxed);
        self.log(
            Level::Error,
            format!(
                "replica {} gets nothing more ({}): {reason}",
                self.shared.name(self.replica),
                activity.as_str()
            ),
        );
        self.status().update(|condition| {
            condition.activity = activity;
            condition.reason = Some(reason);
        });
    }

    fn detach(&mut self) {
        let limit = self.shared.config.replicas[usize::from(self.replica)].max_lag;
        let reason = Reason::new(
            ReasonCode::Detached,
            format!(
                "the replica fell further behind than its limit (max_lag_writes={}, max_lag_bytes={}, or its share of \
                 max_pending_*); sync it anew, then resume it",
                limit.writes, limit.bytes
            ),
        );
        self.shared.journal.detach(self.replica);
        let count = self.shared.journal.settle_all(self.replica, u64::MAX, &reason);
        Status::count(&self.status().rejected, count as u64);
        self.stop(Activity::Detached, reason);
    }

    fn resume(&mut self, skip: bool, copied: Option<u64>) {
        match (self.status().condition().activity, copied) {
            (_, Some(position)) => {
                // The user says the replica is as the primary was then. What was pending is in that copy.
                let reason = Reason::new(ReasonCode::Diverged, "the replica was resumed from a newer copy");
                let count = self.shared.journal.settle_all(self.replica, position, &reason);
                Status::count(&self.status().rejected, count as u64);
                self.delivery = Delivery::after(position);
                self.status().diverged.store(false, Ordering::Relaxed);
            }
            (Activity::Halted, None) if skip => self.skip_halted(),
            (Activity::Halted, None) => {}
            // It runs, or it stopped only after the user looked.
            (_, None) => return,
        }
        self.backoff.succeed();
        self.status().update(|condition| {
            condition.activity = Activity::Connecting;
            condition.reason = None;
        });
    }

    /// The origin of a journal in memory ends with the process. Its row would only be in the way.
    async fn finish(self) {
        if self.delivery.is_certain() && self.shared.journal.lag(self.replica).writes == 0 {
            let _ = self.client.query(&forget(&self.shared.origin)).await;
        }
        self.status().update(|condition| condition.activity = Activity::Closed);
    }

    pub(super) fn status(&self) -> &Status {
        &self.shared.status[usize::from(self.replica)]
    }

    pub(super) fn log(&self, level: Level, message: String) {
        self.shared.log(level, message);
    }
}
