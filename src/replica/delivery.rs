//! From the journal to the replica and back: what is sent, and what its answer or its watermark proves.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::{
    status::{Activity, DeadLetter, Status},
    task::Task,
};
use crate::{
    config::{MAX_SQL_BYTES, OnReject},
    outcome::{self, Outcome},
    reason::{Reason, ReasonCode},
    shared::Level,
    wire::{
        Batch, BatchBuilder, Row, Standing, Verdict, applied_changes, drop_large, handshake, inspect,
        stage_large,
    },
    write::{Body, Write},
};

/// The most writes in one batch. Marks fill a text of [`MAX_SQL_BYTES`] before this; it bounds the memory of
/// one batch should that limit ever grow.
const MAX_BATCH_WRITES: usize = 2_000;

/// How often a write that is alone in its batch may end in an internal error of a replica that otherwise
/// answers, before the write is taken to be the cause.
const MAX_INTERNAL_ERRORS: u32 = 20;

/// What is known of the replica.
#[derive(Debug)]
pub struct Delivery {
    /// Every write up to this one has its outcome.
    pub position: u64,
    /// Whether the handshake was made (lately).
    pub greeted: bool,
    /// The watermark row as last confirmed.
    standing: Option<Standing>,
    /// Statements applied of the first write that is not settled.
    step: u64,
    /// The chains of the texts sent since then. All expect the same row, so at most one of them can ever run.
    issued: Vec<u64>,
    /// How many writes the newest of them carried.
    carried: usize,
    /// An answer that does not tell what happened: the row has to be read.
    doubt: Option<Doubt>,
    /// How many pieces of which large values are on the replica.
    staged: HashMap<u64, usize>,
    /// The last write in each text sent that is not settled: an outcome's number of attempts.
    sends: VecDeque<u64>,
    /// The most writes in the next batch: halved to find the one at fault.
    width: usize,
    /// Internal errors of a write alone in its batch: its number, and how many.
    internal_errors: (u64, u32),
    /// The write at which the replica halted, with its reason.
    halted: Option<(Arc<Write>, Reason)>,
    /// Staged values whose write was given up: to be removed.
    litter: Vec<u64>,
}

/// Why the row has to be read.
#[derive(Debug, Clone)]
enum Doubt {
    /// It may have run.
    Lost(Reason),
    /// A statement of it failed for good.
    Failed(Reason),
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            position: 0,
            greeted: false,
            standing: None,
            step: 0,
            issued: Vec::new(),
            carried: 0,
            doubt: None,
            staged: HashMap::new(),
            sends: VecDeque::new(),
            width: MAX_BATCH_WRITES,
            internal_errors: (0, 0),
            halted: None,
            litter: Vec::new(),
        }
    }
}

impl Delivery {
    /// Nothing is known of the replica but that every write up to `position` is none of its business.
    pub fn after(position: u64) -> Self {
        Self { position, ..Self::default() }
    }

    /// Whether nothing is under way whose effect is not known.
    pub fn is_certain(&self) -> bool {
        self.standing.is_some() && self.doubt.is_none()
    }

    fn attempts(&self, seq: u64) -> u32 {
        self.sends.iter().filter(|&&last| last >= seq).count() as u32
    }
}

impl Task {
    /// One exchange with the replica, or a wait.
    pub(super) async fn step(&mut self) {
        match self.delivery.standing {
            None => self.greet().await,
            Some(_) if self.delivery.doubt.is_some() => self.inspect().await,
            Some(_) if !self.delivery.greeted => self.greet().await,
            Some(standing) => self.deliver(standing).await,
        }
    }

    async fn greet(&mut self) {
        match self.ask(&handshake(&self.shared.origin)).await {
            Verdict::Delivered(rows) => match (rows.as_slice(), self.delivery.standing) {
                ([row], None) if row.id != 0 => {
                    self.delivery.standing = Some(row.standing(row.id));
                    self.delivery.greeted = true;
                    self.recover();
                }
                ([row], Some(standing)) if row.standing(row.id) == standing => self.delivery.greeted = true,
                ([row], Some(_)) if row.id != 0 => self.stop(Activity::Diverged, foreign_row()),
                _ => self.pause(None, not_our_row()).await,
            },
            Verdict::Retry { after, reason } => self.pause(after, reason).await,
            Verdict::Reject { reason } => {
                // The handshake is always valid SQL: whoever refuses it is no replica, or does not let us in.
                let reason = Reason::new(
                    ReasonCode::NotAReplica,
                    format!("the handshake was refused: {}", reason.message),
                );
                self.pause(None, reason).await;
            }
        }
    }

    async fn deliver(&mut self, standing: Standing) {
        if !self.delivery.litter.is_empty() {
            // Whether this works matters little: `forget` removes them too.
            let litter = std::mem::take(&mut self.delivery.litter);
            self.ask(&drop_large(litter)).await;
        }
        let mut builder =
            BatchBuilder::new(self.replica, standing, self.delivery.step, MAX_SQL_BYTES, self.delivery.width);
        let mut refused = None;
        let passed = self.shared.journal.read_after(self.delivery.position, self.replica, |write| {
            let taken = builder.add(write);
            if !taken && builder.is_empty() {
                refused = Some(Arc::clone(write));
            }
            taken
        });
        self.delivery.position = self.delivery.position.max(passed);
        if let Some(write) = refused {
            return self.reject_unsendable(write);
        }
        if builder.is_empty() {
            return self.idle().await;
        }
        let batch = builder.build(&self.shared.origin, standing, self.delivery.position, MAX_SQL_BYTES);
        if self.stage(&batch).await {
            self.send(batch, standing).await;
        }
    }

    /// Puts the batch's large values on the replica. `false` when that did not work yet.
    async fn stage(&mut self, batch: &Batch) -> bool {
        for value in &batch.large {
            let done = self.delivery.staged.get(&value.id).copied().unwrap_or(0);
            let pieces = stage_large(&self.shared.origin, value, MAX_SQL_BYTES);
            for (at, sql) in pieces.iter().enumerate().skip(done) {
                match self.ask(sql).await {
                    Verdict::Delivered(_) => self.delivery.staged.insert(value.id, at + 1),
                    Verdict::Retry { after, reason } => {
                        self.pause(after, reason).await;
                        return false;
                    }
                    Verdict::Reject { reason } => {
                        self.reject_next(reason);
                        return false;
                    }
                };
            }
        }
        true
    }

    async fn send(&mut self, batch: Batch, standing: Standing) {
        let Batch { sql, writes, last, chain, .. } = batch;
        self.delivery.sends.push_back(last);
        self.delivery.issued.push(chain);
        self.delivery.carried = writes;
        // Until an answer says otherwise: this request may be cut short at any moment.
        self.delivery.doubt =
            Some(Doubt::Lost(Reason::new(ReasonCode::Connection, "the request was not finished")));
        match self.ask(&sql).await {
            Verdict::Delivered(rows) => match rows.as_slice() {
                [row] if row.chain == chain => {
                    // First: who wakes for an outcome must not find the replica as it was before.
                    self.recover();
                    self.confirm(row, standing.id);
                    self.delivery.width = (self.delivery.width * 2).min(MAX_BATCH_WRITES);
                }
                _ => self.pause(None, not_our_row()).await,
            },
            Verdict::Retry { after, reason } => {
                if reason.code == ReasonCode::Guard {
                    // The guard also asks whether the staged values are there: perhaps one is not.
                    self.delivery.staged.clear();
                }
                self.delivery.doubt = Some(Doubt::Lost(reason.clone()));
                self.pause(after, reason).await;
            }
            Verdict::Reject { reason } => self.delivery.doubt = Some(Doubt::Failed(reason)),
        }
    }

    /// Reads the row after an answer that did not tell what happened.
    async fn inspect(&mut self) {
        match self.ask(&inspect(&self.shared.origin)).await {
            Verdict::Delivered(rows) => match rows.as_slice() {
                [row] => self.compare(row),
                [] => self.stop(Activity::Diverged, missing_row()),
                _ => self.pause(None, not_our_row()).await,
            },
            Verdict::Retry { after, reason } => self.pause(after, reason).await,
            Verdict::Reject { reason } if reason.code == ReasonCode::NoSuchTable => {
                self.stop(Activity::Diverged, missing_row());
            }
            Verdict::Reject { reason } => self.pause(None, reason).await,
        }
    }

    /// Draws the conclusion from the row.
    fn compare(&mut self, row: &Row) {
        let (Some(standing), Some(doubt)) = (self.delivery.standing, self.delivery.doubt.clone()) else {
            return;
        };
        if row.standing(standing.id) == standing {
            self.delivery.doubt = None;
            self.recover();
            return self.nothing_ran(doubt);
        }
        let Some(at) = self.delivery.issued.iter().position(|&chain| chain == row.chain) else {
            return self.stop(Activity::Diverged, foreign_row());
        };
        // An older text that ran late says nothing about what the newest one was answered.
        let newest = at + 1 == self.delivery.issued.len();
        self.recover();
        let applied = self.confirm(row, standing.id);
        let left = self.delivery.carried.saturating_sub(applied);
        if !newest || left == 0 {
            return;
        }
        // What is left over begins with the write that failed.
        match doubt {
            Doubt::Failed(reason) => self.reject_next(reason),
            Doubt::Lost(reason) => self.suspect(left, reason),
        }
    }

    /// The row is as before: the replica undoes a text that fails, or never saw it, or refused it whole.
    fn nothing_ran(&mut self, doubt: Doubt) {
        match doubt {
            Doubt::Failed(_) if self.delivery.carried > 1 => self.delivery.width = self.delivery.carried / 2,
            Doubt::Failed(reason) => self.reject_next(reason),
            Doubt::Lost(reason) => self.suspect(self.delivery.carried, reason),
        }
    }

    /// An internal error can be the replica's, or be caused by one write each time. Alone in its batch often
    /// enough, a write is taken to be the cause, so that it does not hold up all others for ever.
    fn suspect(&mut self, writes: usize, reason: Reason) {
        let Some(next) = self.next_write() else { return };
        if reason.code != ReasonCode::Internal {
            return;
        }
        self.delivery.width = (writes / 2).max(1);
        let (seq, count) = self.delivery.internal_errors;
        let count = if seq == next.seq { count + 1 } else { 1 };
        self.delivery.internal_errors = (next.seq, count);
        if count >= MAX_INTERNAL_ERRORS {
            self.reject_next(reason);
        }
    }

    /// Settles what the row proves applied and takes the row as the new standing. How many writes that were.
    fn confirm(&mut self, row: &Row, id: u64) -> usize {
        // A write of which an earlier text applied a part has only some of its changes counted here.
        let partial = self.delivery.step > 0;
        let applied = self.writes_through(row.seq);
        let changes = applied_changes(&row.changes).chain(std::iter::repeat(None));
        let outcome = |(at, (write, changes)): (usize, (Arc<Write>, Option<i64>))| {
            let changes = changes.filter(|_| at > 0 || !partial);
            let outcome = self.fulfilled(&write, changes);
            (write, outcome)
        };
        let outcomes: Vec<_> = applied.into_iter().zip(changes).enumerate().map(outcome).collect();
        let count = outcomes.len();
        Status::count(&self.status().fulfilled, count as u64);
        self.delivery.standing = Some(row.standing(id));
        self.delivery.step = row.step;
        // No other text can run any more: each expects a row that is gone.
        self.delivery.issued.clear();
        self.delivery.doubt = None;
        self.delivery.staged.clear();
        self.advance(row.seq);
        self.shared.journal.settle(outcomes);
        count
    }

    /// The writes for this replica that are not settled, up to number `seq`.
    fn writes_through(&self, seq: u64) -> Vec<Arc<Write>> {
        let mut writes = Vec::new();
        self.shared.journal.read_after(self.delivery.position, self.replica, |write| {
            let wanted = write.seq <= seq;
            if wanted {
                writes.push(Arc::clone(write));
            }
            wanted
        });
        writes
    }

    /// The first write for this replica that is not settled.
    fn next_write(&self) -> Option<Arc<Write>> {
        let mut next = None;
        self.shared.journal.read_after(self.delivery.position, self.replica, |write| {
            next = Some(Arc::clone(write));
            false
        });
        next
    }

    fn fulfilled(&self, write: &Write, changes: Option<i64>) -> Outcome {
        // A replica that filters some statements of the write out has not changed all its rows.
        let whole = write.statements_for(self.replica).count() == write.body.statements().len();
        let differs_from = match (write.expected.filter(|_| whole), changes) {
            (Some(expected), Some(changes)) if expected != changes => Some(expected),
            _ => None,
        };
        if let (Some(expected), Some(changes)) = (differs_from, changes) {
            self.tell_difference(write, expected, changes);
        }
        self.outcome(write, outcome::Status::Fulfilled { changes, differs_from })
    }

    fn tell_difference(&self, write: &Write, expected: i64, changes: i64) {
        let status = self.status();
        status.diverged.store(true, Ordering::Relaxed);
        if status.changes_differ.fetch_add(1, Ordering::Relaxed) == 0 {
            let name = self.shared.name(self.replica);
            self.log(
                Level::Warning,
                format!(
                    "replica {name} has diverged: write {} changed {changes} rows there and {expected} on the primary \
                     (further differences are only counted)",
                    write.seq
                ),
            );
        }
    }

    fn outcome(&self, write: &Write, status: outcome::Status) -> Outcome {
        let attempts = self.delivery.attempts(write.seq);
        Outcome { replica: self.replica, status, attempts, latency: write.submitted.elapsed() }
    }

    fn reject_unsendable(&mut self, write: Arc<Write>) {
        let reason = match &write.body {
            Body::Unsendable(reason) => (**reason).clone(),
            Body::One(_) | Body::Many(_) => Reason::new(ReasonCode::Sql, "nothing of it is for this replica"),
        };
        self.reject(write, reason);
    }

    /// Rejects the first write that is not settled, for what the replica said of it.
    fn reject_next(&mut self, reason: Reason) {
        let Some(write) = self.next_write() else { return };
        let reason = match self.delivery.step {
            0 => reason,
            n => Reason::new(
                reason.code,
                format!(
                    "{} (statement {} of the write; those before it stay applied)",
                    reason.message,
                    n + 1
                ),
            ),
        };
        self.reject(write, reason);
    }

    /// Gives a write up, or halts at it.
    fn reject(&mut self, write: Arc<Write>, reason: Reason) {
        if self.shared.config.on_reject == OnReject::Halt {
            let told = Reason::new(
                ReasonCode::Halted,
                format!("write {} was rejected ({reason}); resume it to go on", write.seq),
            );
            self.delivery.halted = Some((write, reason));
            return self.stop(Activity::Halted, told);
        }
        let name = self.shared.name(self.replica);
        self.log(
            Level::Warning,
            format!("replica {name} rejected write {}: {reason}; kept as a dead letter", write.seq),
        );
        self.bury(write, reason);
    }

    /// Gives up the write at which the replica halted.
    pub(super) fn skip_halted(&mut self) {
        if let Some((write, reason)) = self.delivery.halted.take() {
            self.bury(write, reason);
        }
    }

    fn bury(&mut self, write: Arc<Write>, reason: Reason) {
        let status = self.status();
        status.diverged.store(true, Ordering::Relaxed);
        Status::count(&status.rejected, 1);
        let attempts = self.delivery.attempts(write.seq);
        let outcome = self.outcome(&write, outcome::Status::Rejected(reason.clone()));
        self.shared.bury(DeadLetter {
            replica: self.replica,
            write: Arc::clone(&write),
            reason,
            attempts,
            time: SystemTime::now(),
        });
        self.delivery.width = MAX_BATCH_WRITES;
        self.delivery.step = 0;
        let staged = write.statements_for(self.replica).filter_map(|statement| statement.large.as_deref());
        self.delivery.litter.extend(staged.flatten().map(|value| value.id));
        self.advance(write.seq);
        self.shared.journal.settle([(write, outcome)]);
    }

    fn advance(&mut self, seq: u64) {
        self.delivery.position = self.delivery.position.max(seq);
        self.delivery.sends.retain(|&last| last > seq);
        self.status().acknowledged.store(self.delivery.position, Ordering::Relaxed);
    }
}

fn foreign_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark was moved by someone else: another process writes as this origin, or the replica was \
         restored from a backup; sync it anew, then resume it",
    )
}

fn missing_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark is gone: the replica was reset or swapped; sync it anew, then resume it",
    )
}

fn not_our_row() -> Reason {
    Reason::new(ReasonCode::NotAReplica, "the answer does not hold the watermark that was asked for")
}
