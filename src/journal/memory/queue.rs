//! The journal in memory: a queue of numbered writes, with what is pending for each replica.
//!
//! With a file behind it, it is a window on the newest writes: older ones that wait for a replica which is
//! down are only in the file.

mod settling;
mod window;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::limits::{Limits, Pending};
use crate::{
    sql::{ReplicaSet, replicas_in},
    write::{
        Body, Draft, Moment, Reason, ReasonCode, Write,
        outcome::{Outcome, Status},
    },
};

/// What a pending write costs beyond its text: its own record and its place in the queue.
const RECORD_BYTES: usize = size_of::<Write>() + 3 * size_of::<usize>();

/// The queue. A std mutex and not an async one: it is held for less than it takes to switch tasks, and
/// the caller's thread takes it too.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    /// The last write that may be sent: with a file, one that is in it.
    sendable: AtomicU64,
    /// The last write that was numbered, for who asks without the lock.
    newest: AtomicU64,
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
    /// Every write up to this one has its outcome, for each replica.
    positions: Vec<u64>,
    /// With a file: what is in it.
    filed: Option<Filed>,
}

/// What is known of writes that are only in the file.
#[derive(Debug)]
struct Filed {
    /// The last write that is in the file.
    saved: u64,
    /// Writes that are not in the queue but that somebody holds: their outcomes have to reach the same object.
    held: HashMap<u64, Weak<Write>>,
    /// How many there may be before the dead among them are removed.
    max_held: usize,
}

/// A write with its number.
#[derive(Debug)]
pub struct Appended {
    /// The write.
    pub write: Arc<Write>,
    /// The replicas that do not take it: it is rejected there already.
    pub absent: ReplicaSet,
    /// The replicas that have to be detached for it.
    pub full: ReplicaSet,
}

impl Appended {
    /// Whether every replica it is for takes it.
    pub fn is_taken(&self) -> bool {
        self.absent == 0
    }
}

/// A part of the queue.
pub enum Read {
    /// The writes that are open for the replica, and the number of the last write looked at.
    Part(Vec<Arc<Write>>, u64),
    /// The next writes are only in the file, up to the one before this number.
    Filed(u64),
}

impl Queue {
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
            positions: vec![0; replicas],
            filed: None,
        };
        Self {
            limits,
            sendable: AtomicU64::new(u64::MAX),
            newest: AtomicU64::new(0),
            inner: Mutex::new(inner),
        }
    }

    /// One in front of a file that holds the writes up to number `last`, of which each replica lacks what `lag` says
    /// and is past `positions`.
    pub fn filed(limits: Limits, last: u64, lag: Vec<Pending>, positions: Vec<u64>) -> Self {
        let mut queue = Self::new(limits);
        queue.sendable = AtomicU64::new(last);
        let inner = queue.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.first = last + 1;
        inner.lag = lag;
        inner.positions = positions;
        inner.filed = Some(Filed { saved: last, held: HashMap::new(), max_held: 1_024 });
        queue
    }

    /// Numbers and keeps a write. Once the queue is closed it is only numbered, and rejected at once.
    pub fn append(&self, draft: Draft) -> Appended {
        let bytes = RECORD_BYTES + draft.body.size();
        let submitted = Moment::now();
        let mut inner = self.inner();
        let body = match draft.body {
            body if bytes <= self.limits.max_pending_bytes => body,
            _ => Body::unsendable(self.overflow(bytes), draft.targets),
        };
        let bytes = if matches!(body, Body::Unsendable(_)) { RECORD_BYTES } else { bytes };
        let seq = inner.last() + 1;
        let write = Arc::new(Write::new(seq, submitted, body, draft.expected, bytes, draft.targets));
        let absent = if inner.closed { draft.targets } else { draft.targets & !inner.attached };
        if absent != 0 {
            settle_absent(&write, absent, inner.closed);
        }
        if inner.closed {
            return Appended { write, absent, full: 0 };
        }
        self.newest.store(seq, Ordering::Relaxed);
        let full = inner.push(&write, &self.limits);
        Appended { write, absent, full }
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

    /// Whether there is something to send, or to pass over, after number `position`.
    pub fn has_after(&self, position: u64) -> bool {
        self.last().min(self.sendable.load(Ordering::Acquire)) > position
    }

    /// The last write that may be sent.
    pub fn sendable(&self) -> u64 {
        self.sendable.load(Ordering::Acquire)
    }

    /// The same as [`Self::last`] without the lock: perhaps the one before.
    pub fn last_seen(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// The number of the last write appended; 0 before the first.
    pub fn last(&self) -> u64 {
        self.inner().last()
    }

    /// Whether `replica` takes writes.
    pub fn takes(&self, replica: u8) -> bool {
        let inner = self.inner();
        !inner.closed && inner.attached & (1 << replica) != 0
    }

    /// Every write up to this one has its outcome on `replica`, as far as is known without looking.
    pub fn position(&self, replica: u8) -> u64 {
        self.inner().positions[usize::from(replica)]
    }

    /// Every write up to this one has its outcome on every replica.
    pub fn floor(&self) -> u64 {
        let inner = self.inner();
        inner.positions.iter().copied().min().unwrap_or(0).min(inner.last())
    }

    /// From now on writes are settled at once as not accepted.
    pub fn close(&self) {
        self.inner().closed = true;
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.inner().closed
    }

    /// What is in the journal. With a file, its bytes are those that the replica furthest behind waits for.
    pub fn total(&self) -> Pending {
        let inner = self.inner();
        if inner.filed.is_none() {
            return inner.total;
        }
        let behind = |(lag, position): (&Pending, &u64)| {
            if lag.writes == 0 { 0 } else { inner.last().saturating_sub(*position) as usize }
        };
        Pending {
            writes: inner.lag.iter().zip(&inner.positions).map(behind).max().unwrap_or(0),
            bytes: inner.lag.iter().map(|lag| lag.bytes).max().unwrap_or(0),
        }
    }

    /// What `replica` has no outcome for.
    pub fn lag(&self, replica: u8) -> Pending {
        self.inner().lag[usize::from(replica)]
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Poisoned is not torn: nothing in here panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, write: &Arc<Write>, limits: &Limits) -> ReplicaSet {
        let open = write.settlement.open();
        self.writes.push_back(Arc::clone(write));
        self.total.count(write);
        let mut full = 0;
        for replica in replicas_in(open) {
            let lag = &mut self.lag[replica];
            lag.count(write);
            if lag.exceeds(limits.max_lag[replica]) {
                full |= 1 << replica;
            }
        }
        if open == 0 {
            drop(self.release());
        }
        let limit = Pending { writes: limits.max_pending_writes, bytes: limits.max_pending_bytes };
        // One that is being detached already does not count: it takes a moment until it is.
        let filed = replicas_in(self.attached).map(|replica| self.lag[replica].bytes).max().unwrap_or(0);
        if full == 0 && (self.total.exceeds(limit) || filed > limits.max_journal_bytes) {
            full = self.furthest_behind();
        }
        self.attached &= !full;
        full
    }

    /// The replica that the oldest write waits for and that has most to catch up on.
    fn furthest_behind(&self) -> ReplicaSet {
        let open = self.writes.front().map_or(0, |write| match &self.filed {
            Some(_) => self.open_in_file(write.seq),
            None => write.settlement.open(),
        });
        let most = replicas_in(open & self.attached).max_by_key(|&replica| self.lag[replica].bytes);
        most.map_or(0, |replica| 1 << replica)
    }

    fn last(&self) -> u64 {
        self.first + self.writes.len() as u64 - 1
    }
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
