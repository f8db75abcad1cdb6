//! The part of the queue that is in memory, and what is known of the writes that are only in the file.

use std::sync::{Arc, Weak, atomic::Ordering};

use super::{Filed, Inner, Queue, RECORD_BYTES, Read};
use crate::{
    journal::memory::limits::Pending,
    sql::{ReplicaSet, replicas_in, replicas_with},
    write::{Body, Moment, Write},
};

/// The most writes kept in memory that are in the file too: enough that replicas which keep up never wait for the disk.
const WINDOW_WRITES: usize = 20_000;

/// The most bytes of them.
const WINDOW_BYTES: usize = 32 << 20;

/// How many writes are looked at in one go: who appends waits no longer than that takes.
const PART: usize = 256;

impl Queue {
    /// A part of what comes after number `position` and may be sent.
    pub fn read_after(&self, position: u64, replica: u8) -> Read {
        let inner = self.inner();
        if inner.filed.is_some() && position + 1 < inner.first {
            return Read::Filed(inner.first);
        }
        let sendable = self.sendable.load(Ordering::Acquire);
        // What is gone from the front is settled everywhere.
        let mut seen = position.max(inner.first - 1);
        let start = position.saturating_add(1).saturating_sub(inner.first) as usize;
        let mut open = Vec::new();
        for write in inner.writes.range(start.min(inner.writes.len())..).take(PART) {
            if write.seq > sendable {
                break;
            }
            seen = write.seq;
            if write.is_open_for(replica) {
                open.push(Arc::clone(write));
            }
        }
        Read::Part(open, seen)
    }

    /// The one object for a write that was read from the file: the outcomes of all replicas go there.
    pub fn share(&self, write: Write) -> Arc<Write> {
        let mut inner = self.inner();
        let open = write.settlement.open() & inner.open_in_file(write.seq);
        let Some(filed) = &mut inner.filed else { return Arc::new(write) };
        if let Some(known) = filed.held.get(&write.seq).and_then(Weak::upgrade) {
            return known;
        }
        // Since it was read, a replica may have got past it.
        let write = Arc::new(write.reopened(open));
        filed.hold(&write);
        write
    }

    /// The replicas that have no outcome for a write that is only in the file.
    pub fn open_in_file(&self, seq: u64) -> ReplicaSet {
        self.inner().open_in_file(seq)
    }

    /// The newest write that is open for `replica`, among those in memory.
    pub fn last_open(&self, replica: u8) -> Option<Arc<Write>> {
        let inner = self.inner();
        let open = |write: &&Arc<Write>| write.is_open_for(replica);
        if inner.lag[usize::from(replica)].writes == 0 {
            None
        } else {
            inner.writes.iter().rev().find(open).cloned()
        }
    }

    /// When the oldest write was handed over that is open for `replica`. `None` where it is only in the file.
    pub fn oldest_open(&self, replica: u8) -> Option<Moment> {
        let inner = self.inner();
        if inner.filed.is_some() && inner.positions[usize::from(replica)] + 1 < inner.first {
            return None;
        }
        let open = |write: &&Arc<Write>| write.is_open_for(replica);
        let start = (inner.positions[usize::from(replica)] + 1).saturating_sub(inner.first) as usize;
        inner.writes.range(start.min(inner.writes.len())..).find(open).map(|write| write.submitted)
    }

    /// The first writes after number `after`, which are not in the file, and the number that the file is at with them.
    pub fn unsaved(&self, after: u64, count: usize) -> (Vec<Arc<Write>>, u64) {
        let inner = self.inner();
        let start = (after + 1).saturating_sub(inner.first) as usize;
        let writes: Vec<_> =
            inner.writes.range(start.min(inner.writes.len())..).take(count).cloned().collect();
        // Where all are settled already, because the disk failed, their numbers are all that has to be kept.
        let last = writes.last().map_or_else(|| inner.last(), |write| write.seq);
        (writes, last)
    }

    /// Notes that the file holds everything up to number `seq`.
    pub fn saved(&self, seq: u64) {
        let mut inner = self.inner();
        if let Some(filed) = &mut inner.filed {
            filed.saved = seq;
        }
        self.sendable.fetch_max(seq, Ordering::AcqRel);
        let released = inner.release();
        drop(inner);
        drop(released);
    }

    /// Makes nothing of writes that nobody has seen yet and that are not in the file: their numbers stay empty.
    pub fn withdraw(&self, numbers: &[u64]) {
        let mut inner = self.inner();
        for &seq in numbers {
            let at = seq.checked_sub(inner.first).map(|at| at as usize);
            let Some((at, write)) = at.and_then(|at| Some((at, Arc::clone(inner.writes.get(at)?)))) else {
                continue;
            };
            for replica in replicas_in(write.settlement.open()) {
                inner.lag[replica].remove(&write);
            }
            let body = Body::Many(Box::default());
            let empty = Arc::new(Write::new(seq, write.submitted, body, None, RECORD_BYTES, 0));
            inner.total.remove(&write);
            inner.total.count(&empty);
            inner.writes[at] = empty;
        }
    }

    /// Lets go what cannot be put into the file: it is sent from memory.
    pub fn send_unsaved(&self) {
        self.sendable.fetch_max(self.last(), Ordering::AcqRel);
    }
}

impl Inner {
    pub(super) fn open_in_file(&self, seq: u64) -> ReplicaSet {
        replicas_with(&self.positions, |&position| position < seq)
    }

    pub(super) fn lag_in_memory(&self, replica: u8) -> Pending {
        let mut lag = Pending::default();
        let open = |write: &&Arc<Write>| write.is_open_for(replica);
        self.writes.iter().filter(open).for_each(|write| lag.count(write));
        lag
    }

    /// Takes from the front what needs not be in memory.
    pub(super) fn release(&mut self) -> Vec<Arc<Write>> {
        let saved = self.filed.as_ref().map_or(u64::MAX, |filed| filed.saved);
        let mut released = Vec::new();
        while let Some(write) = self.writes.front() {
            let settled = write.settlement.is_settled();
            let outside = self.writes.len() > WINDOW_WRITES || self.total.bytes > WINDOW_BYTES;
            // What all replicas are past needs no file any more: it was sent from memory, because the disk fails. Before that
            // one that is none of its business would look for it in the file.
            let passed = write.seq <= saved || self.positions.iter().all(|&position| position >= write.seq);
            let needed =
                if settled { !passed } else { write.seq > saved || self.filed.is_none() || !outside };
            if needed {
                break;
            }
            self.total.remove(write);
            self.first += 1;
            if let (false, Some(filed)) = (settled, &mut self.filed)
                && Arc::strong_count(write) > 1
            {
                filed.hold(write);
            }
            released.extend(self.writes.pop_front());
        }
        if self.writes.is_empty() && self.writes.capacity() > 4_096 {
            self.writes.shrink_to(1_024);
        }
        released
    }
}

impl Filed {
    fn hold(&mut self, write: &Arc<Write>) {
        self.held.insert(write.seq, Arc::downgrade(write));
        if self.held.len() > self.max_held {
            self.held.retain(|_, write| write.strong_count() > 0);
            self.max_held = 2 * self.held.len() + 1_024;
        }
    }
}
