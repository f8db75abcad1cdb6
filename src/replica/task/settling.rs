//! From what is proven to outcomes: what is applied, and how far the replica is with it.

use std::sync::{Arc, atomic::Ordering};

use super::task::Task;
use crate::{
    ground::{event::Level, panics},
    replica::shared::status::Status,
    wire::{Changed, Row},
    write::{
        Moment, Write,
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

    pub(super) fn outcome(&self, write: &Write, status: outcome::Status, now: Moment) -> Outcome {
        let attempts = self.delivery.attempts(write.seq);
        let latency = write.submitted.until(now);
        Outcome { replica: self.replica, status, attempts, latency }
    }

    /// Has removed what is staged for a write that does not need it any more.
    pub(super) fn forget_staged(&mut self, write: &Write, is_removed: bool) {
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

    pub(super) fn advance(&mut self, seq: u64) {
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
