//! A write that is given up: why, and what is kept of it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::task::Task;
use crate::{
    config::OnReject,
    ground::event::Level,
    journal::{DeadLetter, LetterKey},
    replica::{
        delivery::delivery::MAX_BATCH_WRITES,
        shared::status::{Activity, Status},
    },
    wire::{Limits, Progress, rest},
    write::{Body, Moment, Reason, ReasonCode, Write, outcome},
};

impl Task {
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
}
