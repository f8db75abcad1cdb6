//! Waiting until everything is settled, what dead processes left included.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::engine::Engine;
use crate::write::{
    Reason, Write,
    waiting::{all_settled, wait},
};

/// How soon `flush` looks again whether journals of dead processes still wait.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Engine {
    /// The newest open write of each replica: when these are settled, everything submitted until now is. Only a damaged file
    /// makes it fail.
    pub fn open_writes(&self) -> Result<Vec<Arc<Write>>, Reason> {
        let mut writes = Vec::new();
        for source in self.shared.sources() {
            for replica in 0..self.shared.status.len() as u8 {
                match source.journal.last_open(replica) {
                    _ if source.is_finished(replica) => {}
                    open => writes.extend(open?),
                }
            }
        }
        Ok(writes)
    }

    /// Whether nothing is left that dead processes have written and that can be delivered. If there is, it is on its way.
    pub fn has_all(&self) -> bool {
        if self.shared.adoption.waiting() == 0 {
            return true;
        }
        self.shared.adopt() == 0 && self.shared.adoption.waiting() == 0
    }

    /// Waits until everything submitted until now is settled. `false` when `deadline` came first, or `interrupted`
    /// (asked about ten times a second) said so.
    pub fn flush(&self, deadline: Option<Instant>, mut interrupted: impl FnMut() -> bool) -> bool {
        loop {
            self.shared.nudge();
            let open = self.open_writes();
            if !open.is_ok_and(|writes| writes.iter().all(|write| wait(write, deadline, &mut interrupted))) {
                return false;
            }
            if self.has_all() {
                return true;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) || interrupted() {
                return false;
            }
            // Another process is about to end, or to take over what waits.
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The same for a task of a runtime.
    pub async fn flushed(&self, deadline: Option<Instant>) -> bool {
        self.shared.nudge();
        match deadline {
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), self.all_settled()).await.unwrap_or(false)
            }
            None => self.all_settled().await,
        }
    }

    async fn all_settled(&self) -> bool {
        loop {
            let Ok(open) = self.open_writes() else { return false };
            if !all_settled(open).await {
                return false;
            }
            if self.has_all() {
                return true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
