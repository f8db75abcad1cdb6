//! Writes and positions on their way into the file: one thread at a time commits, for all that have come by then.

use std::sync::{Arc, atomic::Ordering};

use super::{Access, Disk, Failure, GROUP};
use crate::journal::{
    file::{group::Wait, ride::Ride, settings::Durability},
    memory::{cursor::Cursor, queue::Queue},
};

/// How many bytes a replica lacks that does not keep up: half of what one request takes.
const FULL: usize = 50_000;

impl Disk {
    /// Puts the writes up to number `seq` into the file. One thread at a time does so, for all that have come by then;
    /// the others wait for it.
    pub(in crate::journal) fn save_through(&self, queue: &Queue, seq: u64) {
        // Once the queue is closed, a number may be given to what is not kept.
        let seq = seq.min(queue.last());
        // Only a commit that syncs costs more than waiting for others.
        let mut wait = Wait { seq, gather: self.durability == Durability::Disk };
        while self.saved() < seq {
            if self.is_resting() {
                self.failure().writes = true;
                queue.send_unsaved();
                return;
            }
            if !self.group.join(&mut wait, || self.saved() >= seq) {
                continue;
            }
            let saved = self.save(&mut self.store(), queue, seq);
            self.end_lead(saved, true);
            if !saved {
                return;
            }
        }
    }

    /// Lets others commit, and those go who wait for nothing more.
    fn end_lead(&self, saved: bool, wrote: bool) {
        // Where it failed, all have to see that.
        self.group.end(if saved { self.saved() } else { u64::MAX }, wrote);
    }

    /// Whether some thread saves writes, or waits for that.
    pub(in crate::journal) fn is_attended(&self) -> bool {
        self.group.is_attended()
    }

    /// Whether that worked.
    pub(super) fn save(&self, access: &mut Access<'_>, queue: &Queue, seq: u64) -> bool {
        while self.saved() < seq {
            if !self.save_group(access, queue) {
                return false;
            }
        }
        true
    }

    /// Puts into the file what waits for it, in one step. Whether that worked.
    fn save_group(&self, access: &mut Access<'_>, queue: &Queue) -> bool {
        access.look();
        let mut rides = self.group.take_rides();
        if !rides.is_empty() && !self.put_letters(access) {
            rides.drain(..).for_each(|ride| ride.end(false));
        }
        let saved = self.commit(access, queue, &rides);
        rides.iter().for_each(|ride| ride.end(saved));
        saved
    }

    fn commit(&self, access: &mut Access<'_>, queue: &Queue, rides: &[Arc<Ride>]) -> bool {
        let (replayed, numbers): (Vec<_>, Vec<_>) = self.failure().replayed.iter().cloned().unzip();
        // A dead letter goes in the same step in which all writes come that replay one.
        let count = if replayed.is_empty() { GROUP } else { usize::MAX };
        let (writes, last) = queue.unsaved(self.saved(), count);
        let new = last > self.saved();
        if !new && rides.is_empty() {
            return true;
        }
        let result = access.with(|store| {
            let cursors = rides.iter().map(|ride| (ride.replica, &ride.cursor));
            store.insert(writes.iter().map(|write| &**write), &replayed, cursors)?;
            if new && writes.is_empty() { store.skip_to(last) } else { Ok(()) }
        });
        if !new {
            return self.check(result);
        }
        if let Err(error) = result {
            self.fails(&error);
            {
                let mut failure = self.failure();
                failure.writes = true;
                failure.replayed.clear();
            }
            // Sent from memory, they would be replayed once more by a process that finds the letters in the file.
            queue.withdraw(&numbers);
            queue.send_unsaved();
            return false;
        }
        self.works();
        self.failure().replayed.clear();
        access.note(last);
        self.saved.store(last, Ordering::Release);
        queue.saved(last);
        true
    }

    /// Keeps how far a replica is. Whether that worked.
    pub(in crate::journal) fn save_cursor(&self, queue: &Queue, replica: u8, cursor: &Cursor) -> bool {
        if self.is_resting() {
            return false;
        }
        if self.durability == Durability::Disk && self.failure().problem.is_none() {
            return self.save_cursor_with_writes(queue, replica, cursor);
        }
        let mut access = self.store();
        self.put_letters(&mut access)
            && self.check(access.with(|store| store.save_cursor(usize::from(replica), cursor)))
    }

    /// Holds no replica back that lacks something of what was appended until now: somebody waits for it.
    pub(in crate::journal) fn hurry(&self, queue: &Queue) {
        if self.durability == Durability::Disk {
            self.group.hurry(queue.last());
        }
    }

    /// The same, in the step that saves the writes of others: a step that syncs costs about the same whatever is in it.
    fn save_cursor_with_writes(&self, queue: &Queue, replica: u8, cursor: &Cursor) -> bool {
        let ride = self.group.add_ride(replica, cursor, queue.lag(replica).bytes < FULL);
        while ride.is_open() {
            if self.is_resting() {
                self.group.remove_ride(&ride);
                break;
            }
            if self.group.join_ride(&ride) {
                let saved = self.save_group(&mut self.store(), queue);
                self.end_lead(saved, false);
            }
        }
        ride.is_saved()
    }

    /// Puts into the file what could not be put there when it happened. Whether the disk still fails.
    pub(in crate::journal) fn catch_up(&self, queue: &Queue) -> bool {
        let failed = |failure: &Failure| {
            let open = !failure.letters.is_empty() || !failure.copied.is_empty();
            open || failure.problem.is_some() || failure.gone.is_some()
        };
        if !failed(&self.failure()) || self.is_resting() {
            return failed(&self.failure());
        }
        // Held throughout, so that no letter is replayed meanwhile.
        let mut access = self.store();
        access.look();
        let last = self.saved().min(queue.last());
        if !self.put_letters(&mut access) || !self.check(access.with(|store| store.skip_to(last))) {
            return true;
        }
        if self.saved() < queue.last() {
            // Whether writes fit again is seen when they are put there.
            self.failure().retry_at = None;
        } else {
            self.works();
        }
        self.failure().gone.is_some()
    }
}
