//! Who waits for writes, and who wakes whom: a task that sleeps costs nothing, and one that is awake is not woken.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::shared::Shared;
use crate::journal::{Bell, LINGER, LINGER_LOOKS, Source};

/// Under a steady load a replica gets a request no sooner than this after the one before, unless somebody waits for an
/// outcome: each request costs sender and replica far more than another write in it. A write that comes alone goes at once.
pub const GATHER: Duration = Duration::from_millis(5);

/// So many writes are worth a request at any time; and a replica that was just sent so many is not held back.
pub const GATHER_WRITES: usize = 200;

impl Shared {
    /// Wakes the tasks that wait for a write.
    pub fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.arrived.notify_waiters();
        }
    }

    /// Names the thread that puts writes into the file.
    pub fn set_writer(&self, bell: Option<Bell>) {
        if let Some(bell) = bell {
            let _ = self.writer.set(bell);
        }
    }

    /// Has writes put into the file soon.
    pub fn wake_writer(&self) {
        if let Some(bell) = self.writer.get() {
            bell.wake();
        }
    }

    /// Has the thread that puts writes into the file look at once.
    pub fn ring_writer(&self) {
        if let Some(bell) = self.writer.get() {
            bell.nudge();
        }
    }

    /// Has what was handed over sent at once: somebody waits for it.
    pub fn nudge(&self) {
        self.awaited.fetch_max(self.own.journal.last(), Ordering::Relaxed);
        self.own.journal.hurry();
        self.wake();
        if let Some(bell) = self.writer.get()
            && self.own.journal.unsaved() > 0
        {
            // The thread passes it on.
            bell.nudge();
        } else {
            self.nudge_tasks();
        }
    }

    /// Has what may be sent sent at once.
    pub fn nudge_tasks(&self) {
        self.nudged.notify_waiters();
    }

    /// Completes when `source` has something after number `position`. A task that has just been busy lingers first.
    pub async fn wait_after(&self, source: &Source, position: u64, busy: bool) {
        if busy && self.linger(source, position).await {
            return;
        }
        let mut arrived = std::pin::pin!(self.arrived.notified());
        // Register interest before looking: a write between the look and the wait would not wake us.
        arrived.as_mut().enable();
        self.asleep.store(true, Ordering::SeqCst);
        if !source.journal.has_after(position) {
            arrived.await;
        }
    }

    /// Lets more writes come for the next request of `replica`, until `due` or until somebody waits for one after number
    /// `position`.
    pub async fn gather(&self, replica: u8, position: u64, due: Instant) {
        let mut nudged = std::pin::pin!(self.nudged.notified());
        // Register interest before looking, as above.
        nudged.as_mut().enable();
        let pending = self.own.journal.lag(replica).writes;
        if (1..GATHER_WRITES).contains(&pending) && self.awaited.load(Ordering::Relaxed) <= position {
            let _ = tokio::time::timeout_at(due, nudged).await;
        }
    }

    /// Looks by itself for a while. Whether something came.
    async fn linger(&self, source: &Source, position: u64) -> bool {
        for _ in 0..LINGER_LOOKS {
            let mut nudged = std::pin::pin!(self.nudged.notified());
            nudged.as_mut().enable();
            if source.journal.has_after(position) {
                return true;
            }
            let _ = tokio::time::timeout(LINGER, nudged).await;
        }
        source.journal.has_after(position)
    }
}
