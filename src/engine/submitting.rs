//! Taking writes in: numbered at once, and put into the file as `durability` says.

use std::sync::{Arc, atomic::Ordering};

use super::engine::Engine;
use crate::{
    ground::event::Level,
    journal::{Appended, Durability},
    replica::{Command, Status},
    sql::{ReplicaSet, replicas_in},
    write::{Body, Draft, Write},
};

/// How many writes may wait for the file with `durability="async"` before a caller waits too: some 100 ms of a disk's work.
const MAX_UNSAVED: u64 = 20_000;

impl Engine {
    /// Whether [`Self::submit`] waits for the disk.
    pub fn blocks(&self) -> bool {
        self.shared.own.journal.disk().is_some_and(|disk| disk.durability() != Durability::Async)
    }

    /// Whether [`Self::submit`] may wait for the disk now.
    pub fn waits(&self) -> bool {
        self.blocks() || self.shared.own.journal.unsaved_about() >= MAX_UNSAVED
    }

    /// Hands a write over to the delivery, and to the disk as `durability` says. Does not fail.
    pub fn submit(&self, draft: Draft) -> Arc<Write> {
        let appended = self.shared.own.journal.append(draft);
        let write = self.submitted(appended);
        if self.is_crowded(&write) {
            // Faster than the disk: memory must not grow without end, and no replica is to be given up for it.
            self.shared.own.journal.save_through(write.seq - MAX_UNSAVED / 2);
        }
        if self.blocks() {
            self.shared.own.journal.save_through(write.seq);
            if !self.shared.own.journal.is_saved(write.seq) {
                // The disk failed: the thread goes on trying, and tells.
                self.shared.wake_writer();
            }
        } else if self.shared.own.is_durable() {
            self.shared.wake_writer();
        }
        self.shared.wake();
        write
    }

    /// Whether so many writes are not in the file yet that who hands over waits for the disk.
    pub fn is_crowded(&self, write: &Write) -> bool {
        self.shared.own.journal.disk().is_some_and(|disk| write.seq > disk.saved() + MAX_UNSAVED)
    }

    /// Counts a write that was appended, and detaches what it does not fit for.
    pub(super) fn submitted(&self, appended: Appended) -> Arc<Write> {
        let Appended { write, absent, full } = appended;
        self.writes.fetch_add(1, Ordering::Relaxed);
        for replica in replicas_in(absent) {
            Status::count(&self.shared.status[replica].rejected, 1);
        }
        if absent != 0 && self.shared.own.journal.is_closed() {
            self.tell_refused();
        }
        self.detach(full);
        write
    }

    fn tell_refused(&self) {
        if self.shared.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            let message = "a write was handed over after close(): it is rejected, and no replica gets it (said once; \
                           stats().refused counts them). Close the replicator after all that write";
            self.shared.log(Level::Error, message.into());
        }
    }

    /// Has replicas detached that are too far behind.
    pub(super) fn detach(&self, full: ReplicaSet) {
        for replica in replicas_in(full) {
            self.shared.command(replica as u8, Command::Detach);
        }
    }

    /// Hands over write number `seq` of an origin whose numbers are given by somebody else, in order. `None` when it was
    /// handed over before. Numbers that are left out stay empty. Does not wait for the disk: [`Self::sync`] does.
    pub fn submit_as(&self, seq: u64, draft: Draft) -> Option<Arc<Write>> {
        let last = self.shared.own.journal.last();
        if seq <= last {
            return None;
        }
        for _ in last + 1..seq {
            self.shared.own.journal.append(Draft {
                body: Body::Many(Box::default()),
                targets: 0,
                expected: None,
            });
        }
        let write = self.submitted(self.shared.own.journal.append(draft));
        self.shared.wake_writer();
        self.shared.wake();
        Some(write)
    }

    /// Waits until everything handed over so far is in the journal's file, as safe as `durability` makes it. `false` when
    /// that cannot be: the disk fails, or the replicator is closed.
    pub fn sync(&self) -> bool {
        let Some(disk) = self.shared.own.journal.disk() else { return true };
        let saved = self.shared.own.journal.save_all();
        self.shared.wake();
        saved && disk.is_open() && disk.is_in_place()
    }
}
