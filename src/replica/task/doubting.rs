//! What the replica's row proves after an answer that does not tell what happened.

use std::sync::Arc;

use super::task::Task;
use crate::{
    replica::{
        delivery::{
            delivery::{Delivery, Doubt},
            proof::{Proof, Sent, prove},
            rows::{foreign_row, impossible_row, missing_row, not_our_row, same_row},
        },
        shared::status::Activity,
    },
    wire::{Apart, Join, MAX_SQL_BYTES, Progress, Row, Verdict, inspect},
    write::{Reason, ReasonCode, Standing},
};

impl Task {
    /// Reads the row after an answer that did not tell what happened.
    pub(super) async fn inspect(&mut self) {
        match self.ask(&inspect(&self.source.origin)).await {
            Verdict::Delivered(rows) => match rows.as_slice() {
                [row] if row.is_sound() => self.compare(row),
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
    pub(super) fn compare(&mut self, row: &Row) {
        let (Some(mut standing), Some(doubt)) = (self.delivery.standing, self.delivery.doubt.clone()) else {
            return;
        };
        // What fails again and cannot be made smaller is tried ever more rarely, unless something was settled.
        let stuck = doubt.is_stubborn() || matches!(doubt, Doubt::Lost(_)) && self.delivery.is_least();
        if row.is_new() && standing.is_new() {
            // The replica was set up anew, or tidied up, before it got anything from us.
            standing = *self.delivery.standing.insert(row.standing(row.id));
        }
        let at = match self.prove(row, standing) {
            _ if self.unreadable.is_some() || self.delivery.stopped.is_some() => return,
            Proof::Unmoved => {
                self.delivery.doubt = None;
                self.answered(self.delivery.carried.is_empty() && !stuck, !stuck);
                return self.nothing_ran(doubt);
            }
            Proof::Ran(at) => at,
            Proof::Foreign => return self.stop_at_foreign(row),
            Proof::Impossible => return self.stop(Activity::Diverged, impossible_row()),
        };
        // An older text that ran late says nothing about what the newest one was answered.
        let newest = at + 1 == self.delivery.issued.len();
        let before = (self.delivery.position, self.delivery.step);
        let carried = self.delivery.carried.len();
        // A text without writes is there to move the row.
        let settles = carried == 0 || (row.seq, row.step) > before;
        // First: who wakes for an outcome must not find the replica as it was before.
        self.answered(settles, newest && !stuck);
        let left = carried.saturating_sub(self.confirm(row, standing.id));
        if !newest || left == 0 {
            return;
        }
        match doubt {
            Doubt::Failed(reason) => self.settle_failed(reason),
            Doubt::Lost(reason) => self.suspect(left, reason),
        }
    }

    /// Someone else moved the row: perhaps a text of ours for another replica.
    pub(super) fn stop_at_foreign(&mut self, row: &Row) {
        let shared = Arc::clone(&self.shared);
        let others = shared.status.iter().enumerate().filter(|(at, _)| *at != usize::from(self.replica));
        let same = others.into_iter().find(|(_, other)| other.has_sent(row.chain));
        let reason = same.map_or_else(foreign_row, |(at, _)| same_row(shared.name(at as u8)));
        self.stop(Activity::Diverged, reason);
    }

    /// Shortens the pause to the next try, as far as this one got somewhere: something was settled, or a smaller text comes
    /// next.
    fn answered(&mut self, settled: bool, smaller: bool) {
        if settled {
            self.recover();
        } else if smaller {
            self.backoff.ease();
        }
    }

    /// What the row proves. Where the journal cannot be read, that is noted, and the proof worth nothing.
    fn prove(&mut self, row: &Row, standing: Standing) -> Proof {
        let Delivery { position, step, .. } = self.delivery;
        let issued = self.delivery.issued.clone();
        prove(row, &Sent { standing, position, step, issued: &issued }, |seq| self.parts(seq))
    }

    /// How many statements for this replica the first open write after number `seq` has.
    fn parts(&mut self, seq: u64) -> u64 {
        let (replica, mut parts) = (self.replica, 0);
        self.read(|write| {
            if write.seq > seq {
                parts = write.statements_for(replica).count() as u64;
            }
            write.seq <= seq
        });
        parts
    }

    /// What is left of the newest text begins with the write that failed, unless others were joined with it: then these
    /// are sent once more, each by itself, and the one at fault will show.
    fn settle_failed(&mut self, reason: Reason) {
        let Some(next) = self.next_write() else { return };
        let statements = Progress::of(self.delivery.step).statements;
        let several = |apart: &Apart| apart.stands_for_several(next.seq, statements);
        if self.delivery.is_whole && self.delivery.apart.as_ref().is_some_and(several) {
            self.delivery.in_parts = Some(next.seq);
            return;
        }
        match self.delivery.joined.iter().find(|joined| joined.contains(&next.seq)) {
            Some(joined) => self.delivery.join = Join::After(*joined.end()),
            None => self.reject_next(reason),
        }
    }

    /// The row is as before: the replica undoes a text that fails, or never saw it, or refused it whole.
    fn nothing_ran(&mut self, doubt: Doubt) {
        let carried = self.delivery.carried.len();
        match doubt {
            Doubt::Failed(_) if carried > 1 => self.delivery.width = carried / 2,
            // Somebody on the way takes less than the replica: in parts it may get through.
            Doubt::Failed(reason)
                if reason.code == ReasonCode::TooLarge && self.delivery.shorten(MAX_SQL_BYTES) => {}
            Doubt::Failed(reason) => self.reject_next(reason),
            Doubt::Lost(reason) => self.suspect(carried, reason),
        }
    }
}
