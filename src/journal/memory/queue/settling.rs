//! Outcomes, and what they let go.

use std::sync::{Arc, Weak};

use super::Queue;
use crate::write::{
    Reason, Write,
    outcome::{Outcome, Status},
};

impl Queue {
    /// Notes that `replica` has an outcome for everything up to number `position`.
    pub fn acknowledge(&self, replica: u8, position: u64) {
        let mut inner = self.inner();
        inner.positions[usize::from(replica)] = position;
        let released = inner.release();
        drop(inner);
        drop(released);
    }

    /// Records outcomes and drops what is settled everywhere. Both under the lock, so that who was waiting for an outcome
    /// finds the numbers as they should be; and in small steps, so that no caller waits for the lock.
    pub fn settle(&self, outcomes: impl IntoIterator<Item = (Arc<Write>, Outcome)>) {
        const STEP: usize = 32;
        let mut outcomes = outcomes.into_iter().peekable();
        while outcomes.peek().is_some() {
            let step: Vec<_> = outcomes.by_ref().take(STEP).collect();
            let mut inner = self.inner();
            for (write, outcome) in &step {
                let replica = usize::from(outcome.replica);
                if write.is_open_for(outcome.replica) {
                    inner.lag[replica].remove(write);
                    write.settlement.settle(outcome.clone());
                }
            }
            let settled = inner.release();
            drop(inner);
            // Freed outside the lock.
            drop(settled);
        }
    }

    /// Settles with `reason` all that is open for `replica` up to number `through`. How many there were.
    pub fn settle_all(&self, replica: u8, through: u64, reason: &Reason) -> usize {
        let (open, before) = {
            let inner = self.inner();
            let open = |write: &Arc<Write>| write.seq <= through && write.is_open_for(replica);
            let held = inner.filed.iter().flat_map(|filed| filed.held.values()).filter_map(Weak::upgrade);
            let writes = held.chain(inner.writes.iter().cloned()).filter(open).collect::<Vec<_>>();
            (writes, inner.lag[usize::from(replica)].writes)
        };
        self.settle(open.into_iter().map(|write| {
            let outcome = rejected(&write, replica, reason.clone());
            (write, outcome)
        }));
        let mut inner = self.inner();
        if inner.filed.is_some() {
            // What was only in the file, and held by nobody, has gone with it.
            inner.lag[usize::from(replica)] = inner.lag_in_memory(replica);
        }
        before - inner.lag[usize::from(replica)].writes.min(before)
    }

    /// Wakes whoever waits for writes that this process will not settle: they stay in the file.
    pub fn abandon(&self) {
        let open: Vec<_> = {
            let inner = self.inner();
            let held = inner.filed.iter().flat_map(|filed| filed.held.values()).filter_map(Weak::upgrade);
            held.chain(inner.writes.iter().cloned()).collect()
        };
        open.iter().for_each(|write| write.settlement.abandon());
    }

    /// From now on writes are settled at once for `replica` as detached.
    pub fn detach(&self, replica: u8) {
        self.inner().attached &= !(1 << replica);
    }

    /// Takes writes for `replica` again, from the next one on. The number of the last write before it.
    pub fn attach(&self, replica: u8) -> u64 {
        let mut inner = self.inner();
        inner.attached |= 1 << replica;
        let last = inner.last();
        // Now, and not when its task gets there: what comes after must not be let go as if it needed nothing.
        let position = &mut inner.positions[usize::from(replica)];
        *position = last.min(*position);
        last
    }
}

/// The outcome of a write that no request will carry any more.
fn rejected(write: &Write, replica: u8, reason: Reason) -> Outcome {
    Outcome { replica, status: Status::Rejected(reason), attempts: 0, latency: write.submitted.elapsed() }
}
