//! Finding the write at fault: a text that does not get through is made smaller, and a write alone in it is given up.

use super::task::Task;
use crate::{
    replica::delivery::delivery::Delivery,
    wire::{BatchBuilder, Limits, MAX_SQL_BYTES},
    write::{Reason, ReasonCode, Standing},
};

/// How often a write that is alone in its batch may end in an internal error of a replica that otherwise
/// answers, before the write is taken to be the cause.
const MAX_INTERNAL_ERRORS: u32 = 20;

impl Task {
    /// Has the write that is alone in a text given up, if the user wants that.
    pub(super) fn give_up_if_asked(&mut self, writes: usize) -> bool {
        let Some((reason, _)) = self.delivery.gives_up.take_if(|_| writes == 1) else { return false };
        self.delivery.giving_up = self.next_write().map(|write| (write.seq, reason));
        true
    }

    /// Gives a write up that does not get through. First the row is moved, by a text without writes: a text that carried the
    /// write may still be under way, and must not run after it was told to be rejected.
    pub(super) async fn give_up_stuck(&mut self, standing: Standing) {
        let Delivery { step, width, join, .. } = self.delivery;
        let empty = BatchBuilder::new(self.replica, standing, step, Limits::of(MAX_SQL_BYTES), width, join);
        let batch = empty.build(&self.source.origin, standing, self.delivery.position);
        self.send(batch, standing).await;
        let moved = self.delivery.standing.is_some_and(|now| now.chain != standing.chain);
        if !moved || !self.delivery.is_certain() {
            return;
        }
        let next = self.next_write();
        if let Some((seq, reason)) = self.delivery.giving_up.take()
            && let Some(write) = next.filter(|write| write.seq == seq)
        {
            self.give_up_write(write, reason);
        }
    }

    /// Makes the next text smaller. An internal error can be the replica's, or be caused by one write each time. Alone in
    /// its batch often enough, a write is taken to be the cause, so that it does not hold up all others for ever.
    pub(super) fn suspect(&mut self, writes: usize, reason: Reason) {
        if reason.code == ReasonCode::Guard || writes == 0 {
            return;
        }
        // Perhaps the text takes longer than somebody on the way allows: the same one would never get through.
        self.delivery.width = (writes / 2).max(1);
        let newest = self.delivery.issued.last().map(|issued| issued.chain);
        // Only what was sent after the user asked shows that the write does not get through.
        let again = self.delivery.gives_up.as_ref().is_some_and(|(_, before)| *before != newest);
        if again && self.give_up_if_asked(writes) {
            return;
        }
        if matches!(reason.code, ReasonCode::Timeout | ReasonCode::Unavailable) {
            self.delivery.shorten(self.delivery.sent_bytes / 2);
        }
        let Some(next) = self.next_write().filter(|_| reason.code == ReasonCode::Internal) else { return };
        let (seq, count) = self.delivery.internal_errors;
        let count = if seq == next.seq { count + 1 } else { 1 };
        self.delivery.internal_errors = (next.seq, count);
        if count >= MAX_INTERNAL_ERRORS {
            self.reject_next(reason);
        }
    }
}
