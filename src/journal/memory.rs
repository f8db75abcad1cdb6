//! The journal in memory: a queue of numbered writes, with what is pending for each replica.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    outcome::{Outcome, Settlement, Status},
    reason::{Reason, ReasonCode},
    sql::ReplicaSet,
    write::{Body, Draft, Write},
};

/// What a pending write costs beyond its text: its own record and its place in the queue.
const RECORD_BYTES: usize = size_of::<Write>() + 3 * size_of::<usize>();

/// How much may be pending before something gives way. What gives way is always the replica that is
/// furthest behind, never the caller and never a replica that keeps up.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Writes in the journal.
    pub max_pending_writes: usize,
    /// Bytes in the journal.
    pub max_pending_bytes: usize,
    /// For each replica, the writes and the bytes it may be behind.
    pub max_lag: Vec<Pending>,
}

/// An amount of pending work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pending {
    /// Writes.
    pub writes: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Pending {
    fn add(&mut self, write: &Write) {
        self.writes += 1;
        self.bytes += write.bytes;
    }

    fn remove(&mut self, write: &Write) {
        self.writes -= 1;
        self.bytes -= write.bytes;
    }

    fn exceeds(self, limit: Self) -> bool {
        self.writes > limit.writes || self.bytes > limit.bytes
    }
}

/// The queue. A std mutex and not an async one: it is held for less than it takes to switch tasks, and
/// the caller's thread takes it too.
#[derive(Debug)]
pub struct MemoryJournal {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The writes not settled, and those behind an older one that is not. The first has number `first`.
    writes: VecDeque<Arc<Write>>,
    first: u64,
    total: Pending,
    /// For each replica, what it has no outcome for.
    lag: Vec<Pending>,
    /// The replicas that take writes; the others are detached.
    attached: ReplicaSet,
    closed: bool,
}

impl MemoryJournal {
    /// An empty one for as many replicas as `limits` names.
    pub fn new(limits: Limits) -> Self {
        let replicas = limits.max_lag.len();
        let inner = Inner {
            writes: VecDeque::new(),
            first: 1,
            total: Pending::default(),
            lag: vec![Pending::default(); replicas],
            attached: (0..replicas).map(|i| 1 << i).sum(),
            closed: false,
        };
        Self { limits, inner: Mutex::new(inner) }
    }

    /// Numbers and keeps a write. Second comes the set of replicas that have to be detached for it.
    pub fn append(&self, draft: Draft) -> (Arc<Write>, ReplicaSet) {
        let bytes = RECORD_BYTES + draft.body.size();
        let submitted = Instant::now();
        let mut inner = self.inner();
        let body = match draft.body {
            body if bytes <= self.limits.max_pending_bytes => body,
            _ => Body::Unsendable(Box::new(self.overflow(bytes))),
        };
        let bytes = if matches!(body, Body::Unsendable(_)) { RECORD_BYTES } else { bytes };
        let write = Arc::new(Write {
            seq: inner.first + inner.writes.len() as u64,
            submitted,
            body,
            expected: draft.expected,
            bytes,
            targets: draft.targets,
            settlement: Settlement::new(draft.targets),
        });
        let absent = if inner.closed { draft.targets } else { draft.targets & !inner.attached };
        if absent != 0 {
            settle_absent(&write, absent, inner.closed);
        }
        let full = inner.push(&write, &self.limits);
        (write, full)
    }

    fn overflow(&self, bytes: usize) -> Reason {
        let limit = self.limits.max_pending_bytes;
        Reason::new(
            ReasonCode::Overflow,
            format!(
                "the write takes {bytes} bytes, more than max_pending_bytes={limit}; raise it or split the write"
            ),
        )
    }

    /// The next writes for `replica` after number `position`, as long as `take` accepts them. Second comes
    /// the number of the last write looked at and passed over, or `position`: everything up to there that
    /// comes before the first write taken does not concern the replica.
    pub fn read_after(&self, position: u64, replica: u8, mut take: impl FnMut(&Arc<Write>) -> bool) -> u64 {
        let inner = self.inner();
        // What is gone from the front is settled everywhere.
        let mut passed = position.max(inner.first - 1);
        let start = (position + 1).saturating_sub(inner.first) as usize;
        for write in inner.writes.range(start.min(inner.writes.len())..) {
            if write.settlement.open() & (1 << replica) != 0 {
                if !take(write) {
                    break;
                }
            } else if passed + 1 == write.seq {
                passed = write.seq;
            }
        }
        passed
    }

    /// The newest write that is open for `replica`.
    pub fn last_open(&self, replica: u8) -> Option<Arc<Write>> {
        let inner = self.inner();
        let open = |write: &&Arc<Write>| write.settlement.open() & (1 << replica) != 0;
        if inner.lag[usize::from(replica)].writes == 0 {
            None
        } else {
            inner.writes.iter().rev().find(open).cloned()
        }
    }

    /// Whether anything was appended after number `position`.
    pub fn has_after(&self, position: u64) -> bool {
        let inner = self.inner();
        inner.first + inner.writes.len() as u64 > position + 1
    }

    /// The number of the last write appended; 0 before the first.
    pub fn last(&self) -> u64 {
        let inner = self.inner();
        inner.first + inner.writes.len() as u64 - 1
    }

    /// Records outcomes and drops what is settled everywhere. Both under the lock, so that who was waiting for an outcome
    /// finds the numbers as they should be; and in small steps, so that no caller waits for the lock.
    pub fn settle(&self, outcomes: impl IntoIterator<Item = (Arc<Write>, Outcome)>) {
        const STEP: usize = 32;
        let mut outcomes = outcomes.into_iter().peekable();
        while outcomes.peek().is_some() {
            let step: Vec<_> = outcomes.by_ref().take(STEP).collect();
            let mut inner = self.inner();
            for (write, outcome) in &step {
                let replica = usize::from(outcome.replica);
                if write.settlement.open() & (1 << replica) != 0 {
                    inner.lag[replica].remove(write);
                    write.settlement.settle(outcome.clone());
                }
            }
            let settled = inner.release();
            drop(inner);
            // Freed outside the lock.
            drop(settled);
        }
    }

    /// Settles with `reason` all that is open for `replica` up to number `through`. How many there were.
    pub fn settle_all(&self, replica: u8, through: u64, reason: &Reason) -> usize {
        let open: Vec<_> = {
            let inner = self.inner();
            let open = |write: &&Arc<Write>| write.settlement.open() & (1 << replica) != 0;
            inner.writes.iter().take_while(|write| write.seq <= through).filter(open).cloned().collect()
        };
        let count = open.len();
        self.settle(open.into_iter().map(|write| {
            let outcome = rejected(&write, replica, reason.clone());
            (write, outcome)
        }));
        count
    }

    /// From now on writes are settled at once for `replica` as detached.
    pub fn detach(&self, replica: u8) {
        self.inner().attached &= !(1 << replica);
    }

    /// Takes writes for `replica` again, from the next one on. The number of the last write before it.
    pub fn attach(&self, replica: u8) -> u64 {
        let mut inner = self.inner();
        inner.attached |= 1 << replica;
        inner.first + inner.writes.len() as u64 - 1
    }

    /// From now on writes are settled at once as not accepted.
    pub fn close(&self) {
        self.inner().closed = true;
    }

    /// What is in the journal.
    pub fn total(&self) -> Pending {
        self.inner().total
    }

    /// When the oldest write was handed over that `replica` has no outcome for; all up to number `position` have one.
    pub fn oldest_open(&self, replica: u8, position: u64) -> Option<Instant> {
        let mut oldest = None;
        self.read_after(position, replica, |write| {
            oldest = Some(write.submitted);
            false
        });
        oldest
    }

    /// What `replica` has no outcome for.
    pub fn lag(&self, replica: u8) -> Pending {
        self.inner().lag[usize::from(replica)]
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, write: &Arc<Write>, limits: &Limits) -> ReplicaSet {
        let open = write.settlement.open();
        self.writes.push_back(Arc::clone(write));
        self.total.add(write);
        let mut full = 0;
        for replica in replicas_in(open) {
            let lag = &mut self.lag[replica];
            lag.add(write);
            if lag.exceeds(limits.max_lag[replica]) {
                full |= 1 << replica;
            }
        }
        if open == 0 {
            drop(self.release());
        }
        let limit = Pending { writes: limits.max_pending_writes, bytes: limits.max_pending_bytes };
        if full == 0 && self.total.exceeds(limit) {
            full = self.furthest_behind();
        }
        self.attached &= !full;
        full
    }

    /// The replica that the oldest write waits for and that has most to catch up on.
    fn furthest_behind(&self) -> ReplicaSet {
        let open = self.writes.front().map_or(0, |write| write.settlement.open());
        let most = replicas_in(open & self.attached).max_by_key(|&replica| self.lag[replica].bytes);
        most.map_or(0, |replica| 1 << replica)
    }

    fn release(&mut self) -> Vec<Arc<Write>> {
        let settled = self.writes.iter().take_while(|write| write.settlement.is_settled()).count();
        let released: Vec<_> = self.writes.drain(..settled).collect();
        self.first += settled as u64;
        for write in &released {
            self.total.remove(write);
        }
        if self.writes.is_empty() && self.writes.capacity() > 4_096 {
            self.writes.shrink_to(1_024);
        }
        released
    }
}

/// The replicas in a set, by index.
pub fn replicas_in(mut set: ReplicaSet) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let replica = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (replica < 64).then_some(replica)
    })
}

/// The outcome of a write that no request will carry any more.
fn rejected(write: &Write, replica: u8, reason: Reason) -> Outcome {
    Outcome { replica, status: Status::Rejected(reason), attempts: 0, latency: write.submitted.elapsed() }
}

fn settle_absent(write: &Write, absent: ReplicaSet, closed: bool) {
    let reason = if closed {
        Reason::new(ReasonCode::Closed, "the replicator was closed before this write")
    } else {
        Reason::new(
            ReasonCode::Detached,
            "the replica was detached before this write; sync it anew, then resume it",
        )
    };
    for replica in replicas_in(absent) {
        let outcome = Outcome {
            replica: replica as u8,
            status: Status::Rejected(reason.clone()),
            attempts: 0,
            latency: Duration::ZERO,
        };
        write.settlement.settle(outcome);
    }
}
