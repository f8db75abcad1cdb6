//! Waiting until a write is settled: as a task, or as a thread.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{settlement::Waiter, write::Write};

/// Completes when `write` is settled or abandoned.
pub async fn settled(write: Arc<Write>) {
    std::future::poll_fn(|cx| {
        if write.settlement.wait(Waiter::Task(cx.waker().clone())) {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
}

/// Blocks until `write` is settled, or `deadline` comes, or `interrupted` says so. Whether it is settled.
pub fn wait(write: &Write, deadline: Option<Instant>, interrupted: &mut impl FnMut() -> bool) -> bool {
    const SLICE: Duration = Duration::from_millis(100);
    while write.settlement.wait(Waiter::Thread(thread::current())) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) || interrupted() {
            return write.settlement.is_settled();
        }
        thread::park_timeout(left.unwrap_or(SLICE).min(SLICE));
    }
    // Nobody will wake us: it is settled, or it was left to the next process.
    write.settlement.is_settled()
}

/// Completes when all of `writes` are settled or abandoned. Whether all are settled.
pub async fn all_settled(writes: Vec<Arc<Write>>) -> bool {
    for write in &writes {
        settled(Arc::clone(write)).await;
    }
    writes.iter().all(|write| write.settlement.is_settled())
}
