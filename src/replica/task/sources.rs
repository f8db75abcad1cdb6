//! Whose writes a task delivers: what dead processes left comes before its own, the oldest first.

use std::sync::Arc;

use super::task::Task;
use crate::{
    ground::event::Level,
    journal::{Disk, Source, Stop, Stopped, letters_left},
    replica::delivery::delivery::Delivery,
    wire::{Verdict, retire},
    write::Reason,
};

impl Task {
    /// Ends with a source of a dead process, from which this replica has everything.
    pub(super) async fn leave(&mut self) {
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
    pub(super) fn pay(&mut self) {
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

    pub(super) fn owes(&self) -> bool {
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
            if let Some((stop, reason)) = self.stopped_in_line() {
                return self.stop_again(stop.into(), reason);
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
    fn stopped_in_line(&self) -> Option<(Stop, Reason)> {
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
    pub(super) fn adopt(&mut self, source: Arc<Source>) {
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
}
