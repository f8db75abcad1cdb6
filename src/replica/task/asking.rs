//! One request, and what a failure of it means for the next.

use std::time::Duration;

use super::task::Task;
use crate::{
    ground::event::Level,
    replica::shared::{
        backoff::Breaker,
        status::{Activity, Status},
    },
    wire::{Verdict, judge},
    write::Reason,
};

impl Task {
    /// Sends `sql` and judges the answer.
    pub(super) async fn ask(&self, sql: &str) -> Verdict {
        self.shared.running().await;
        Status::count(&self.status().requests, 1);
        if self.backoff.is_open() {
            self.status().update(|condition| condition.breaker = Breaker::HalfOpen);
        }
        let answer = self.client.query(sql).await;
        let answer = match &answer {
            Ok((status, retry_after, body)) => Ok((*status, retry_after.as_deref(), body.as_slice())),
            Err(error) => Err(error),
        };
        let hidden = (!self.shared.config.log_values).then_some(sql);
        judge(answer, hidden, std::time::SystemTime::now())
    }

    /// Notes a failure and waits.
    pub(super) async fn pause(&mut self, after: Option<Duration>, reason: Reason) {
        Status::count(&self.status().retries, 1);
        let pause = self.backoff.fail(after);
        let max = self.shared.config.journal.as_ref().map_or(usize::MAX, |journal| journal.max_bytes);
        if self.shared.lag(self.replica).bytes > max {
            return self.detach();
        }
        self.tell_failure(&reason);
        let breaker = if self.backoff.is_open() { Breaker::Open } else { Breaker::Closed };
        self.status().update(|condition| {
            condition.activity = Activity::Retrying;
            condition.breaker = breaker;
            condition.reason = Some(reason);
        });
        self.shared.running().await;
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
}
