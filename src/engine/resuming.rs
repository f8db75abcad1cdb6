//! A replica that stopped goes on, when the user says so.

use super::engine::Engine;
use crate::{
    ground::error::Error,
    replica::{Activity, Command, Resuming},
};

impl Engine {
    /// The index of the replica with this name.
    pub(super) fn replica(&self, name: &str) -> Result<usize, Error> {
        let names = || self.shared.config.replicas.iter().map(|replica| replica.name.as_str());
        names().position(|known| known == name).ok_or_else(|| {
            let known = names().collect::<Vec<_>>().join(", ");
            Error::UnknownReplica { name: name.into(), known }
        })
    }

    /// Tells a stopped replica to go on. With `skip`, one that halted gives its rejected write up, and so does one that
    /// retries, once that write has failed again by itself. Asked again before it is done, it does nothing more; a replica
    /// that runs goes on as it does. It waits for the disk.
    pub fn resume(&self, name: &str, skip: bool) -> Result<(), Error> {
        let index = self.replica(name)?;
        let (replica, status) = (index as u8, &self.shared.status[index]);
        let is_stopped = |activity| matches!(activity, Activity::Detached | Activity::Diverged);
        if is_stopped(status.condition().activity) {
            self.shared.give_up_waiting(replica)?;
        }
        let asked = status.update(|condition| {
            if condition.resuming.is_some() {
                return false;
            }
            condition.resuming = match condition.activity {
                // Here and not in the task: a write made after this call belongs to the replica again.
                activity if is_stopped(activity) => {
                    Some(Resuming::Copied(self.shared.own.journal.attach(replica)))
                }
                Activity::Halted if !skip => Some(Resuming::Again),
                Activity::Halted | Activity::Retrying if skip => Some(Resuming::Skip),
                _ => None,
            };
            condition.resuming.is_some()
        });
        if asked {
            self.shared.command(replica, Command::Resume);
        }
        Ok(())
    }
}
