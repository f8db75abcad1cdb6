//! How a replicator ends: within a deadline, with nothing given up in silence.

use std::{
    sync::{PoisonError, mpsc::RecvTimeoutError},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Runtime,
    task::{AbortHandle, JoinHandle},
};

use super::engine::{Engine, Running};
use crate::{
    ground::event::Level,
    replica::{Command, Status},
    write::{Reason, ReasonCode},
};

/// How long the tasks may take, all together, to leave their replicas tidy after everything is settled.
const FINISH: Duration = Duration::from_secs(1);

/// How long a task may take from seeing that the delivery runs to its next wait.
const GRACE: Duration = Duration::from_millis(10);

impl Engine {
    /// Ends the delivery: what is settled by `deadline` is. The rest stays in the journal's file; without one it is
    /// rejected as closed. Both with an error in the log. Whether everything was settled. Closing twice is harmless.
    pub fn close(&self, deadline: Option<Instant>, interrupted: impl FnMut() -> bool) -> bool {
        if !self.shared.own.is_durable() {
            self.shared.own.journal.close();
        }
        self.shared.own.journal.save_all();
        self.shared.wake();
        let flushed = self.flush(deadline, interrupted);
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return flushed;
        };
        for replica in 0..self.shared.status.len() as u8 {
            self.shared.command(replica, Command::Finish);
        }
        let Running { runtime, tasks } = running;
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let (sender, ended) = std::sync::mpsc::channel::<()>();
        runtime.spawn(async move {
            for task in tasks {
                let _ = task.await;
            }
            drop(sender);
        });
        // Not by the runtime's clock: a replica that floods its thread would stop that, too.
        let is_late = ended.recv_timeout(FINISH) == Err(RecvTimeoutError::Timeout);
        self.stop(runtime, if is_late { &aborts } else { &[] });
        self.leave_rest();
        flushed
    }

    /// Stops tasks that are late, and the runtime. One of them may wait for the disk: when it goes on it finds the runtime's
    /// clock gone, and would panic.
    fn stop(&self, runtime: Runtime, late: &[AbortHandle]) {
        self.shared.end();
        late.iter().for_each(AbortHandle::abort);
        if !late.is_empty() {
            // Whoever did not see the end has got past it by then.
            std::thread::sleep(GRACE);
        }
        runtime.shutdown_background();
    }

    /// Gives up what is not settled, or leaves it to the next process.
    fn leave_rest(&self) {
        // From here on nothing is accepted. Until now a file took what threads wrote that do not know of the end.
        self.shared.own.journal.close();
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.end();
        }
        self.shared.own.journal.save_again();
        let lost = self.shared.own.journal.unsaved();
        for replica in 0..self.shared.status.len() as u8 {
            self.leave_replica(replica, lost);
        }
        for source in self.shared.sources() {
            source.journal.abandon();
            if let Some(disk) = source.journal.disk() {
                disk.end(lost == 0);
            }
        }
        self.shared.tell_news();
    }

    fn leave_replica(&self, replica: u8, lost: u64) {
        let name = self.shared.name(replica);
        let why = self.shared.status[usize::from(replica)].condition().reason;
        let why = why.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let count = self.shared.lag(replica).writes;
        if count == 0 {
            return;
        }
        let kept = match self.shared.own.journal.disk() {
            Some(disk) if lost == 0 => {
                let directory = disk.path().parent().unwrap_or(disk.path()).display();
                format!("; they are kept in {directory}, and the next process that uses it delivers them")
            }
            Some(_) => format!("; {lost} could not be put into the journal and are lost"),
            None => {
                let reason = Reason::new(
                    ReasonCode::Closed,
                    "the replicator was closed before the replica confirmed the write; it may or may not have arrived",
                );
                let count = self.shared.own.journal.settle_all(replica, u64::MAX, &reason);
                Status::count(&self.shared.status[usize::from(replica)].rejected, count as u64);
                String::new()
            }
        };
        let message = format!("closed with {count} writes that replica {name} did not confirm{why}{kept}");
        self.shared.log(Level::Error, message);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // Dropping a runtime waits for its tasks, and may be done on any thread.
            let tasks: Vec<_> = running.tasks.iter().map(JoinHandle::abort_handle).collect();
            self.stop(running.runtime, &tasks);
            self.leave_rest();
        }
    }
}
