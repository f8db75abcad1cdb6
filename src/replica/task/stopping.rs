//! How a replica stops getting writes, how it goes on, and how its task ends.

use std::sync::{Arc, atomic::Ordering};

use super::task::Task;
use crate::{
    ground::event::Level,
    journal::{NOTHING_MORE, Stopped},
    replica::{
        delivery::delivery::Delivery,
        shared::status::{Activity, Resuming, Status},
    },
    wire::{forget, retire},
    write::{Reason, ReasonCode},
};

impl Task {
    /// Stops delivering for a reason that only the user can clear.
    pub(super) fn stop(&mut self, activity: Activity, reason: Reason) {
        self.status().diverged.store(true, Ordering::Relaxed);
        let name = self.shared.name(self.replica);
        self.log(Level::Error, format!("replica {name} gets nothing more ({}): {reason}", activity.as_str()));
        self.delivery.stopped = activity.stop().map(|stop| Stopped::new(stop, &reason));
        self.status().update(|condition| {
            condition.activity = activity;
            condition.reason = Some(reason);
        });
        self.keep();
    }

    /// Stops as an earlier process did. What that process left for the replica is in any copy it can be synced from.
    pub(super) fn stop_again(&mut self, activity: Activity, reason: Reason) {
        let given_up = self.give_up(0, &reason);
        if given_up > 0 {
            let name = self.shared.name(self.replica);
            let message = format!(
                "{given_up} writes that earlier processes had for replica {name} are given up: it has to be synced anew, \
                 and the copy will hold them"
            );
            self.log(Level::Warning, message);
        }
        match activity {
            Activity::Detached => self.detach_for(reason),
            _ => self.stop(activity, reason),
        }
    }

    pub(super) fn detach(&mut self) {
        let condition = self.status().condition();
        if condition.activity == Activity::Detached || matches!(condition.resuming, Some(Resuming::Copied(_)))
        {
            // What was too much then is in the copy.
            return;
        }
        let limit = self.shared.config.replicas[usize::from(self.replica)].max_lag;
        let reason = Reason::new(
            ReasonCode::Detached,
            format!(
                "the replica fell further behind than its limit (max_lag_writes={}, max_lag_bytes={}, or its share of \
                 max_pending_* or max_journal_bytes); sync it anew, then resume it",
                shown(limit.writes),
                shown(limit.bytes)
            ),
        );
        self.detach_for(reason);
    }

    fn detach_for(&mut self, reason: Reason) {
        self.shared.own.journal.detach(self.replica);
        self.give_up(u64::MAX, &reason);
        self.delivery = Delivery::after(NOTHING_MORE);
        self.shared.own.journal.acknowledge(self.replica, NOTHING_MORE);
        self.stop(Activity::Detached, reason);
    }

    /// Settles everything that is pending, of this process's writes those up to number `through`. How many there were.
    fn give_up(&mut self, through: u64, reason: &Reason) -> usize {
        let mut count = 0;
        // Asked first: what is taken from the line and not taken up is never delivered.
        if self.is_own()
            && let Some(next) = self.next.pop_front()
        {
            // They came while the replica was stopped.
            self.next.push_back(Arc::clone(&self.shared.own));
            self.leave_own();
            self.take_up(next);
        }
        while !self.is_own() {
            count += self.source.journal.settle_all(self.replica, u64::MAX, reason);
            self.delivery.position = NOTHING_MORE;
            self.delivery.stopped = None;
            self.source.journal.acknowledge(self.replica, NOTHING_MORE);
            self.finish_source();
            let Some(next) = self.next.pop_front() else { break };
            self.take_up(next);
        }
        count += self.source.journal.settle_all(self.replica, through, reason);
        Status::count(&self.status().rejected, count as u64);
        count
    }

    pub(super) fn resume(&mut self) {
        let condition = self.status().condition();
        self.resume_as(condition.activity, condition.resuming);
    }

    fn resume_as(&mut self, activity: Activity, resuming: Option<Resuming>) {
        match (activity, resuming) {
            (_, Some(Resuming::Copied(position))) => {
                // The user says the replica is as the primary was then. What was pending is in that copy, and what it had
                // rejected.
                let reason = Reason::new(ReasonCode::Diverged, "the replica was resumed from a newer copy");
                self.blocking(|task| task.shared.forget_letters(task.replica));
                self.give_up(position, &reason);
                self.delivery = Delivery::after(position);
                self.source.journal.acknowledge(self.replica, position);
                self.keep();
                self.status().diverged.store(false, Ordering::Relaxed);
                self.shared.adoption.is_synced(self.replica);
            }
            (Activity::Halted, Some(resuming)) => {
                self.delivery.stopped = None;
                if resuming == Resuming::Skip {
                    self.skip_halted();
                }
            }
            (Activity::Retrying, Some(Resuming::Skip)) => {
                // It is given up once it has failed by itself, and nothing that was sent can still run.
                let last = self.delivery.issued.last().map(|issued| issued.chain);
                let reason = self.status().condition().reason;
                let unknown = || Reason::new(ReasonCode::Unavailable, "it did not get through");
                self.delivery.gives_up = Some((reason.unwrap_or_else(unknown), last));
                self.backoff.succeed();
                return;
            }
            // It stopped only after the user looked.
            _ => return,
        }
        self.backoff.succeed();
        self.status().update(|condition| {
            condition.activity = Activity::Connecting;
            condition.reason = None;
        });
    }

    pub(super) fn is_own(&self) -> bool {
        Arc::ptr_eq(&self.source, &self.shared.own)
    }

    /// Leaves the replica tidy. An origin in memory ends with the process, and its row would only be in the way; one that the
    /// user named is gone on with.
    pub(super) async fn finish(mut self) {
        // What came last may be none of this replica's business, and it has not looked yet.
        if let Some(passed) = self.read(|_| false) {
            self.pass(passed);
        }
        self.pay_at_last();
        self.keep();
        let done = self.delivery.is_certain() && self.shared.lag(self.replica).writes == 0;
        if self.is_own() && done && !self.source.is_named() {
            let origin = &self.source.origin;
            let leave = if self.source.is_durable() { retire(origin) } else { forget(origin) };
            self.shared.running().await;
            // The row goes after 30 days all the same.
            let _ = self.client.query(&leave).await;
        }
        self.status().update(|condition| condition.activity = Activity::Closed);
    }
}

fn shown(limit: usize) -> String {
    if limit == usize::MAX { "none".into() } else { limit.to_string() }
}
