//! From what is proven to outcomes: what is applied, what is given up, and where that is kept.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::{
    delivery::MAX_BATCH_WRITES,
    status::{Activity, Status},
    task::Task,
};
use crate::{
    config::OnReject,
    ground::{event::Level, panics},
    journal::{DeadLetter, LetterKey},
    wire::{Changed, Limits, Progress, Row, rest},
    write::{
        Body, Moment, Reason, ReasonCode, Write,
        outcome::{self, Outcome},
    },
};

impl Task {
    /// Settles what the row proves applied and takes the row as the new standing. How many writes that were.
    pub(super) fn confirm(&mut self, row: &Row, id: u64) -> usize {
        // A write of which an earlier text applied a part has only some of its changes counted here.
        let partial = self.delivery.step > 0;
        let applied = self.applied(row);
        if self.unreadable.is_some() {
            // The doubt stays, and the row is read again once the journal can be.
            return 0;
        }
        let known = Changed::read_of(&row.changes, applied.len()).map(Some).chain(std::iter::repeat(None));
        let now = Moment::now();
        let mut outcomes = Vec::with_capacity(applied.len());
        let mut rest = applied.into_iter();
        for changed in known {
            let first = outcomes.len();
            let each = changed.and_then(Changed::each).filter(|_| first > 0 || !partial);
            for write in rest.by_ref().take(changed.map_or(usize::MAX, |changed| changed.writes)) {
                let outcome = self.fulfilled(&write, each, now);
                outcomes.push((write, outcome));
            }
            self.tell_missing(&outcomes[first..], changed);
            if rest.len() == 0 {
                break;
            }
        }
        let count = outcomes.len();
        let open = outcomes.iter().filter(|(write, _)| write.is_open_for(self.replica)).count();
        Status::count(&self.status().fulfilled, open as u64);
        self.delivery.standing = Some(row.standing(id));
        // Where a write was given up meanwhile, it is a step of that one.
        self.delivery.step = if row.seq < self.delivery.position { 0 } else { row.step };
        panics::point("confirm");
        // A text that ran to its end has removed what was staged for it.
        let ended = self.delivery.issued.iter().any(|text| text.chain == row.chain && text.last == row.seq);
        for (write, _) in &outcomes {
            self.forget_staged(write, ended);
        }
        // No other text can run any more: each expects a row that is gone.
        self.delivery.issued.clear();
        self.delivery.synced = false;
        self.delivery.doubt = None;
        self.advance(row.seq);
        self.source.journal.settle(outcomes);
        count
    }

    /// The writes that the row proves applied.
    fn applied(&mut self, row: &Row) -> Vec<Arc<Write>> {
        let newest = self.delivery.issued.last();
        if newest.is_none_or(|newest| newest.chain != row.chain) || self.delivery.carried.is_empty() {
            return self.writes_through(row.seq);
        }
        let mut carried = std::mem::take(&mut self.delivery.carried);
        carried.truncate(carried.partition_point(|write| write.seq <= row.seq));
        carried
    }

    /// The writes for this replica that are not settled, up to number `seq`.
    fn writes_through(&mut self, seq: u64) -> Vec<Arc<Write>> {
        let mut writes = Vec::new();
        self.read(|write| {
            let wanted = write.seq <= seq;
            if wanted {
                writes.push(Arc::clone(write));
            }
            wanted
        });
        writes
    }

    /// The first write for this replica that is not settled.
    pub(super) fn next_write(&mut self) -> Option<Arc<Write>> {
        let mut next = None;
        self.read(|write| {
            next = Some(Arc::clone(write));
            false
        });
        next
    }

    fn fulfilled(&self, write: &Write, changes: Option<i64>, now: Moment) -> Outcome {
        // A replica that filters some statements of the write out has not changed all its rows.
        let whole = write.statements_for(self.replica).count() == write.body.statements().len();
        let differs_from = match (write.expected().filter(|_| whole), changes) {
            (Some(expected), Some(changes)) if expected != changes => Some(expected),
            _ => None,
        };
        if let (Some(expected), Some(changes)) = (differs_from, changes) {
            self.tell_difference(write, expected, changes);
        }
        self.outcome(write, outcome::Status::Fulfilled { changes, differs_from }, now)
    }

    /// Rows that were sent as one, and of which fewer were inserted than on the primary.
    fn tell_missing(&self, outcomes: &[(Arc<Write>, Outcome)], changed: Option<Changed>) {
        let expected = outcomes.iter().filter(|(write, _)| write.expected().is_some()).count();
        let missing = changed.map_or(0, Changed::missing).min(expected);
        if let ([(first, _), ..], [.., (last, _)], 1..) = (outcomes, outcomes, missing) {
            let what = format!("of the writes {} to {} {missing} changed no row there", first.seq, last.seq);
            self.tell_diverged(missing as u64, &what);
        }
    }

    fn tell_difference(&self, write: &Write, expected: i64, changes: i64) {
        let what = format!("write {} changed {changes} rows there and {expected} on the primary", write.seq);
        self.tell_diverged(1, &what);
    }

    fn tell_diverged(&self, writes: u64, what: &str) {
        let status = self.status();
        status.diverged.store(true, Ordering::Relaxed);
        if status.changes_differ.fetch_add(writes, Ordering::Relaxed) == 0 {
            let name = self.shared.name(self.replica);
            let message =
                format!("replica {name} has diverged: {what} (further differences are only counted)");
            self.log(Level::Warning, message);
        }
    }

    fn outcome(&self, write: &Write, status: outcome::Status, now: Moment) -> Outcome {
        let attempts = self.delivery.attempts(write.seq);
        let latency = write.submitted.until(now);
        Outcome { replica: self.replica, status, attempts, latency }
    }

    pub(super) fn reject_unsendable(&mut self, write: Arc<Write>) {
        let reason = match &write.body {
            Body::Unsendable(unsendable) => unsendable.reason.clone(),
            Body::One(_) | Body::Many(_) => Reason::new(ReasonCode::Sql, "nothing of it is for this replica"),
        };
        self.reject(write, reason);
    }

    /// Rejects the first write that is not settled, for what the replica said of it.
    pub(super) fn reject_next(&mut self, reason: Reason) {
        let Some(write) = self.next_write() else { return };
        let reason = self.in_parts(&write, reason);
        let reason = self.with_step(reason);
        self.reject(write, reason);
    }

    fn with_step(&self, reason: Reason) -> Reason {
        match self.delivery.step {
            0 => reason,
            n => Reason::new(
                reason.code,
                match Progress::of(n) {
                    Progress { statements, rows: 0 } => format!(
                        "{} (statement {} of the write; those before it stay applied)",
                        reason.message,
                        statements + 1
                    ),
                    Progress { statements, rows } => format!(
                        "{} (statement {} of the write, behind its row {rows}; what is before that stays applied)",
                        reason.message,
                        statements + 1
                    ),
                },
            ),
        }
    }

    /// Gives a write up because the user wants that, whatever is done with what a replica rejects.
    pub(super) fn give_up_write(&mut self, write: Arc<Write>, reason: Reason) {
        let name = self.shared.name(self.replica);
        self.log(
            Level::Warning,
            format!(
                "write {} is given up for replica {name}, as asked: {reason}; kept as a dead letter",
                write.seq
            ),
        );
        let reason = self.with_step(reason);
        self.bury(write, reason);
    }

    /// Says of a foreign key that fails where it may be the parts that made it fail.
    fn in_parts(&self, write: &Write, reason: Reason) -> Reason {
        let limit = Limits::of(self.client.text_bytes()).alone;
        if reason.code != ReasonCode::Constraint
            || !reason.message.contains("FOREIGN KEY")
            || write.bytes() <= limit
        {
            return reason;
        }
        let message = format!(
            "{} (the write is longer than the {limit} bytes that the replica takes in one text: where it goes in parts, a key \
             that only a later part meets fails; see \"What is too large\" in docs/reliability.md)",
            reason.message
        );
        Reason::new(reason.code, message)
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
        // A write that is given up is not in the way any more.
        self.recover();
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
        let outcome = self.outcome(&write, outcome::Status::Rejected(reason.clone()), Moment::now());
        let letter = self.letter(&write, reason, outcome.attempts);
        self.delivery.width = MAX_BATCH_WRITES;
        self.delivery.step = 0;
        self.forget_staged(&write, false);
        self.advance(write.seq);
        // In one step with the position: the write is never both pending and a dead letter.
        let cursor = self.delivery.cursor();
        self.blocking(|task| task.shared.bury(&task.source, letter, task.replica, &cursor));
        self.source.journal.settle([(write, outcome)]);
    }

    /// Has removed what is staged for a write that does not need it any more.
    fn forget_staged(&mut self, write: &Write, is_removed: bool) {
        let large = write.statements_for(self.replica).filter_map(|statement| statement.large.as_deref());
        let mut ids: Vec<_> = large.flatten().map(|value| value.id).collect();
        if let Some(apart) = self.delivery.apart.take_if(|apart| apart.seq() <= write.seq) {
            ids.extend(apart.large.iter().map(|value| value.id));
        }
        for id in ids {
            self.delivery.staged.remove(&id);
            if !is_removed {
                self.delivery.litter.push(id);
            }
        }
    }

    fn letter(&self, write: &Write, reason: Reason, attempts: u32) -> DeadLetter {
        // What is applied already must not be applied again when the letter is replayed.
        let applied = Progress::of(self.delivery.step);
        let mut statements: Vec<_> =
            write.statements_for(self.replica).skip(applied.statements as usize).cloned().collect();
        if let (1.., Some(first)) = (applied.rows, statements.first_mut())
            && let Some(left) = rest(first, applied.rows)
        {
            *first = left;
        }
        let body = match &write.body {
            Body::Unsendable(unsendable) => Body::Unsendable(unsendable.clone()),
            Body::One(_) | Body::Many(_) => Body::Many(statements.into()),
        };
        DeadLetter {
            key: LetterKey {
                replica: self.shared.name(self.replica).to_owned(),
                origin: self.source.origin.clone(),
                seq: write.seq,
            },
            reason,
            attempts,
            time: SystemTime::now(),
            expected: write.expected().filter(|_| applied == Progress::default()),
            body,
        }
    }

    fn advance(&mut self, seq: u64) {
        self.delivery.sends.retain(|&last| last > seq);
        self.pass(seq);
    }

    /// Notes that everything up to number `seq` has its outcome here, or is none of this replica's business.
    pub(super) fn pass(&mut self, seq: u64) {
        if seq > self.delivery.position {
            self.delivery.position = seq;
            self.source.journal.acknowledge(self.replica, seq);
        }
        if Arc::ptr_eq(&self.source, &self.shared.own) {
            self.status().acknowledged.store(self.delivery.position, Ordering::Relaxed);
        }
    }
}
