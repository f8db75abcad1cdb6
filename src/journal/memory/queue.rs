//! The journal in memory: a queue of numbered writes, with what is pending for each replica.
//!
//! With a file behind it, it is a window on the newest writes: older ones that wait for a replica which is
//! down are only in the file.

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
    sql::{ReplicaSet, replicas_in, replicas_with},
    write::{
        Body, Draft, Moment, Reason, ReasonCode, Write,
        outcome::{Outcome, Status},
    },
};

/// What a pending write costs beyond its text: its own record and its place in the queue.
const RECORD_BYTES: usize = size_of::<Write>() + 3 * size_of::<usize>();

/// The most writes kept in memory that are in the file too: enough that replicas which keep up never wait for the disk.
const WINDOW_WRITES: usize = 20_000;

/// The most bytes of them.
const WINDOW_BYTES: usize = 32 << 20;

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

/// How many writes are looked at in one go: who appends waits no longer than that takes.
const PART: usize = 256;

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

    /// Lets go what cannot be put into the file: it is sent from memory.
    pub fn send_unsaved(&self) {
        self.sendable.fetch_max(self.last(), Ordering::AcqRel);
    }

    /// Notes that `replica` has an outcome for everything up to number `position`.
    pub fn acknowledge(&self, replica: u8, position: u64) {
        let mut inner = self.inner();
        inner.positions[usize::from(replica)] = position;
        let released = inner.release();
        drop(inner);
        drop(released);
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
                if write.is_open_for(outcome.replica) {
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
        let (open, before) = {
            let inner = self.inner();
            let open = |write: &Arc<Write>| write.seq <= through && write.is_open_for(replica);
            let held = inner.filed.iter().flat_map(|filed| filed.held.values()).filter_map(Weak::upgrade);
            let writes = held.chain(inner.writes.iter().cloned()).filter(open).collect::<Vec<_>>();
            (writes, inner.lag[usize::from(replica)].writes)
        };
        self.settle(open.into_iter().map(|write| {
            let outcome = rejected(&write, replica, reason.clone());
            (write, outcome)
        }));
        let mut inner = self.inner();
        if inner.filed.is_some() {
            // What was only in the file, and held by nobody, has gone with it.
            inner.lag[usize::from(replica)] = inner.lag_in_memory(replica);
        }
        before - inner.lag[usize::from(replica)].writes.min(before)
    }

    /// Wakes whoever waits for writes that this process will not settle: they stay in the file.
    pub fn abandon(&self) {
        let open: Vec<_> = {
            let inner = self.inner();
            let held = inner.filed.iter().flat_map(|filed| filed.held.values()).filter_map(Weak::upgrade);
            held.chain(inner.writes.iter().cloned()).collect()
        };
        open.iter().for_each(|write| write.settlement.abandon());
    }

    /// From now on writes are settled at once for `replica` as detached.
    pub fn detach(&self, replica: u8) {
        self.inner().attached &= !(1 << replica);
    }

    /// Takes writes for `replica` again, from the next one on. The number of the last write before it.
    pub fn attach(&self, replica: u8) -> u64 {
        let mut inner = self.inner();
        inner.attached |= 1 << replica;
        let last = inner.last();
        // Now, and not when its task gets there: what comes after must not be let go as if it needed nothing.
        let position = &mut inner.positions[usize::from(replica)];
        *position = last.min(*position);
        last
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

    fn open_in_file(&self, seq: u64) -> ReplicaSet {
        replicas_with(&self.positions, |&position| position < seq)
    }

    fn last(&self) -> u64 {
        self.first + self.writes.len() as u64 - 1
    }

    fn lag_in_memory(&self, replica: u8) -> Pending {
        let mut lag = Pending::default();
        let open = |write: &&Arc<Write>| write.is_open_for(replica);
        self.writes.iter().filter(open).for_each(|write| lag.count(write));
        lag
    }

    /// Takes from the front what needs not be in memory.
    fn release(&mut self) -> Vec<Arc<Write>> {
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
