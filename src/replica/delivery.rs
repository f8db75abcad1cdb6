//! From the journal to the replica and back: what is sent, and what its answer or its watermark proves.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use tokio::time::Instant;

use super::{
    proof::{Proof, Sent, prove},
    status::Activity,
    task::{TOUCH, Task},
};
use crate::{
    config::MAX_SQL_BYTES,
    journal::{Cursor, Issued, State, Stopped},
    reason::{Reason, ReasonCode},
    shared::{GATHER, GATHER_WRITES},
    sql::LargeValue,
    wire::{
        Apart, Batch, BatchBuilder, Join, Limits, Progress, Row, Standing, Verdict, drop_all_large,
        drop_large, handshake, inspect, stage_large, stage_small,
    },
    write::Write,
};

/// The most writes in one batch. Marks fill a text of [`MAX_SQL_BYTES`] before this; it bounds the memory of
/// one batch should that limit ever grow.
pub(super) const MAX_BATCH_WRITES: usize = 2_000;

/// How often a write that is alone in its batch may end in an internal error of a replica that otherwise
/// answers, before the write is taken to be the cause.
const MAX_INTERNAL_ERRORS: u32 = 20;

/// The most values removed with one text: their keys have 17 bytes.
const MAX_DROPPED: usize = 5_000;

/// The most texts whose fate is open that are remembered. A replica that answers questions but never a batch would else
/// make the list grow without end; should one forgotten here run after all, the replica is taken for diverged.
const MAX_ISSUED: usize = 1_000;

/// What is known of the replica.
#[derive(Debug)]
pub struct Delivery {
    /// Every write up to this one has its outcome.
    pub position: u64,
    /// When the handshake was made.
    greeted: Option<Instant>,
    /// The watermark row as last confirmed.
    pub(super) standing: Option<Standing>,
    /// Statements applied of the first write that is not settled.
    pub(super) step: u64,
    /// The texts sent since then. All expect the same row, so at most one of them can ever run.
    pub(super) issued: Vec<Issued>,
    /// The writes that the newest of them carried.
    pub(super) carried: Vec<Arc<Write>>,
    /// An answer that does not tell what happened: the row has to be read.
    pub(super) doubt: Option<Doubt>,
    /// How many pieces of which large values are on the replica.
    pub(super) staged: HashMap<u64, usize>,
    /// The last write in each text sent that is not settled: an outcome's number of attempts.
    pub(super) sends: Vec<u64>,
    /// The writes in each statement of the newest of them that joins the rows of several.
    joined: Vec<RangeInclusive<u64>>,
    /// Which rows may be sent so.
    join: Join,
    /// The most writes in the next batch: halved to find the one at fault.
    pub(super) width: usize,
    /// Internal errors of a write alone in its batch: its number, and how many.
    internal_errors: (u64, u32),
    /// The write at which the replica halted, with its reason.
    pub(super) halted: Option<(Arc<Write>, Reason)>,
    /// What was set apart of the statement that is being sent in parts.
    pub(super) apart: Option<Apart>,
    /// Whether in the newest text something shorter stands for its only write.
    is_whole: bool,
    /// A write that goes in parts, so that the statement at fault is found.
    in_parts: Option<u64>,
    /// How many bytes the newest text had.
    sent_bytes: usize,
    /// The longest text that got through to a replica that says it takes longer ones, or somebody before it does not.
    longest: Option<usize>,
    /// Staged values whose write was given up: to be removed.
    pub(super) litter: Vec<u64>,
    /// Whether an earlier process may have left any there.
    littered: bool,
    /// Why the replica gets nothing more.
    pub(super) stopped: Option<Stopped>,
    /// Whether it needs nothing more as this origin.
    pub(super) finished: bool,
    /// Whether any row is right that the replica holds: the user has said that it was synced anew.
    pub(super) synced: bool,
    /// That the user wants a write given up that does not get through: why it did not when that was asked, and the text
    /// that was sent last then.
    pub(super) gives_up: Option<(Reason, Option<u64>)>,
    /// The write that is given up, and why it did not get through.
    giving_up: Option<(u64, Reason)>,
}

/// Why the row has to be read.
#[derive(Debug, Clone)]
pub(super) enum Doubt {
    /// It may have run.
    Lost(Reason),
    /// A statement of it failed for good.
    Failed(Reason),
}

impl Doubt {
    /// Whether a smaller text would hardly fare better: the head did not find the row as it expects it, or the set-up is at
    /// fault.
    fn is_stubborn(&self) -> bool {
        matches!(self, Self::Lost(reason) if reason.code == ReasonCode::Guard || reason.code.is_setup())
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            position: 0,
            greeted: None,
            standing: None,
            step: 0,
            issued: Vec::new(),
            carried: Vec::new(),
            doubt: None,
            staged: HashMap::new(),
            sends: Vec::new(),
            joined: Vec::new(),
            join: Join::After(0),
            width: MAX_BATCH_WRITES,
            internal_errors: (0, 0),
            halted: None,
            apart: None,
            is_whole: false,
            in_parts: None,
            sent_bytes: 0,
            longest: None,
            litter: Vec::new(),
            littered: false,
            stopped: None,
            finished: false,
            synced: false,
            gives_up: None,
            giving_up: None,
        }
    }
}

impl Delivery {
    /// Nothing is known of the replica but that every write up to `position` is in it or none of its business.
    pub fn after(position: u64) -> Self {
        Self { position, synced: true, ..Self::default() }
    }

    /// What an earlier process knew. What it sent last may have run since.
    pub fn restore(cursor: &Cursor) -> Self {
        let State { standing, step, issued, stopped, finished, synced } = cursor.state.clone();
        let ended = Reason::new(ReasonCode::Connection, "the process that sent it has ended");
        Self {
            position: cursor.position,
            standing,
            step,
            sends: issued.iter().map(|issued| issued.last).collect(),
            issued,
            stopped,
            finished,
            synced,
            littered: standing.is_some(),
            // Reading the row first also shows whether the replica is still the same one.
            doubt: standing.map(|_| Doubt::Lost(ended)),
            ..Self::default()
        }
    }

    /// Begins again at what was kept. What the user has asked for is not forgotten.
    pub(super) fn begin_again(&mut self, kept: &Cursor) {
        let before = std::mem::replace(self, Self::restore(kept));
        (self.gives_up, self.giving_up) = (before.gives_up, before.giving_up);
    }

    /// What the next process has to know.
    pub fn cursor(&self) -> Cursor {
        let Self { position, standing, step, synced, .. } = *self;
        let (issued, stopped, finished) = (self.issued.clone(), self.stopped.clone(), self.finished);
        Cursor { position, state: State { standing, step, issued, stopped, finished, synced } }
    }

    /// Whether nothing is under way whose effect is not known.
    pub fn is_certain(&self) -> bool {
        self.standing.is_some() && self.doubt.is_none()
    }

    /// Whether the handshake was made lately.
    fn is_greeted(&self) -> bool {
        self.greeted.is_some_and(|at| at.elapsed() < TOUCH)
    }

    /// Whether what it was asked last cannot be made smaller.
    fn is_least(&self) -> bool {
        self.carried.len() == 1 || self.carried.is_empty() && self.synced && self.is_greeted()
    }

    /// Notes that a text as long as the newest does not get through. `false` where it was no longer than any may be.
    fn shorten(&mut self, to: usize) -> bool {
        if self.sent_bytes <= MAX_SQL_BYTES {
            return false;
        }
        self.longest = Some(to.max(MAX_SQL_BYTES));
        true
    }

    pub(super) fn attempts(&self, seq: u64) -> u32 {
        self.sends.iter().filter(|&&last| last >= seq).count() as u32
    }
}

impl Task {
    /// One exchange with the replica, or a wait.
    pub(super) async fn step(&mut self) {
        if let Some(reason) = self.unreadable.take() {
            return self.pause(None, reason).await;
        }
        // Processes may have died while this replica was stopped.
        self.turn();
        match self.delivery.standing {
            None => self.greet().await,
            Some(_) if self.delivery.doubt.is_some() => self.inspect().await,
            Some(_) if !self.delivery.is_greeted() => self.greet().await,
            Some(standing) => self.deliver(standing).await,
        }
    }

    async fn greet(&mut self) {
        match self.ask(&handshake(&self.source.origin, self.source.is_durable())).await {
            Verdict::Delivered(rows) => match (rows.as_slice(), self.delivery.standing) {
                // Before anything was sent the row is as it was made; unless it is, somebody else writes as this origin.
                ([row], None) if row.is_sound() && (self.delivery.synced || row.is_new()) => {
                    self.delivery.standing = Some(row.standing(row.id));
                    self.delivery.greeted = Some(Instant::now());
                    self.recover();
                }
                ([row], Some(standing)) if row.standing(row.id) == standing => {
                    self.delivery.greeted = Some(Instant::now());
                    self.recover();
                }
                ([row], Some(_)) if row.is_sound() => {
                    // Perhaps a text of ours ran late: what a dead process had sent, say.
                    let late = Reason::new(ReasonCode::Connection, "an earlier request was still under way");
                    self.delivery.doubt.get_or_insert(Doubt::Lost(late));
                    self.compare(row);
                }
                ([row], None) if row.is_sound() => self.stop_at_foreign(row),
                _ => self.pause(None, not_our_row()).await,
            },
            Verdict::Retry { after, reason } => self.pause(after, reason).await,
            Verdict::Reject { reason } => {
                // The handshake is always valid SQL: whoever refuses it is no replica, or does not let us in.
                let reason = Reason::new(
                    ReasonCode::NotAReplica,
                    format!("the handshake was refused: {}", reason.message),
                );
                self.pause(None, reason).await;
            }
        }
    }

    async fn deliver(&mut self, standing: Standing) {
        if std::mem::take(&mut self.delivery.littered) {
            self.ask(&drop_all_large(&self.source.origin)).await;
        }
        if !self.delivery.litter.is_empty() {
            // Whether this works matters little: `forget` removes them too.
            let litter = std::mem::take(&mut self.delivery.litter);
            for ids in litter.chunks(MAX_DROPPED) {
                self.ask(&drop_large(ids.iter().copied())).await;
            }
        }
        if self.delivery.giving_up.is_some() {
            return self.give_up_stuck(standing).await;
        }
        self.gather().await;
        let Delivery { step, width, join, longest, .. } = self.delivery;
        let limits = Limits::of(self.client.text_bytes().min(longest.unwrap_or(usize::MAX)));
        let mut builder = BatchBuilder::new(self.replica, standing, step, limits, width, join);
        let ids = |apart: &Option<Apart>| -> Vec<u64> {
            apart.iter().flat_map(|apart| apart.large.iter().map(|value| value.id)).collect()
        };
        let before = ids(&self.delivery.apart);
        builder.apart = self.delivery.apart.take();
        builder.in_parts = self.delivery.in_parts;
        let mut refused = None;
        let passed = self.read(|write| {
            let taken = builder.add(write);
            if !taken && builder.is_empty() {
                refused = Some(Arc::clone(write));
            }
            taken
        });
        let Some(passed) = passed else { return };
        self.pass(passed);
        self.delivery.apart = builder.apart.take();
        if ids(&self.delivery.apart) != before {
            let staged = before.into_iter().filter(|id| self.delivery.staged.remove(id).is_some());
            self.delivery.litter.extend(staged.collect::<Vec<_>>());
        }
        match (refused, builder.refused.take()) {
            (Some(_), Some(reason)) => return self.reject_next(reason),
            (Some(write), None) => return self.reject_unsendable(write),
            (None, _) => {}
        }
        // A text sent before the replica was synced anew may still be under way. It expects the row as it is now, and would
        // run on top of the copy: even a text without writes moves the row.
        if builder.is_empty() && !self.delivery.synced {
            return self.idle().await;
        }
        let batch = builder.build(&self.source.origin, standing, self.delivery.position);
        if self.stage(&batch).await {
            self.send(batch, standing).await;
        }
    }

    /// Has the write that is alone in a text given up, if the user wants that.
    fn give_up_if_asked(&mut self, writes: usize) -> bool {
        let Some((reason, _)) = self.delivery.gives_up.take_if(|_| writes == 1) else { return false };
        self.delivery.giving_up = self.next_write().map(|write| (write.seq, reason));
        true
    }

    /// Gives a write up that does not get through. First the row is moved, by a text without writes: a text that carried the
    /// write may still be under way, and must not run after it was told to be rejected.
    async fn give_up_stuck(&mut self, standing: Standing) {
        let Delivery { step, width, join, .. } = self.delivery;
        let empty = BatchBuilder::new(self.replica, standing, step, Limits::of(MAX_SQL_BYTES), width, join);
        let batch = empty.build(&self.source.origin, standing, self.delivery.position);
        self.send(batch, standing).await;
        let moved = self.delivery.standing.is_some_and(|now| now.chain != standing.chain);
        if !moved || !self.delivery.is_certain() {
            return;
        }
        let next = self.next_write();
        if let Some((seq, reason)) = self.delivery.giving_up.take()
            && let Some(write) = next.filter(|write| write.seq == seq)
        {
            self.give_up_write(write, reason);
        }
    }

    /// Waits for more to send, if that may be.
    async fn gather(&self) {
        let Delivery { position, step: 0, .. } = self.delivery else { return };
        self.shared.running().await;
        if let Some(due) = self.due.filter(|_| Arc::ptr_eq(&self.source, &self.shared.own)) {
            self.shared.gather(self.replica, position, due).await;
        }
    }

    /// Puts the batch's large values on the replica. `false` when that did not work yet.
    async fn stage(&mut self, batch: &Batch) -> bool {
        let source = Arc::clone(&self.source);
        let done =
            |task: &Self, value: &LargeValue| task.delivery.staged.get(&value.id).copied().unwrap_or(0);
        let missing: Vec<_> = batch.large.iter().filter(|value| done(self, value) == 0).collect();
        for (ids, sql) in stage_small(&source.origin, &missing, MAX_SQL_BYTES) {
            if !self.stage_text(batch, &sql).await {
                return false;
            }
            self.delivery.staged.extend(ids.into_iter().map(|id| (id, 1)));
        }
        for value in &batch.large {
            let pieces = stage_large(&source.origin, value, MAX_SQL_BYTES);
            for (at, sql) in pieces.iter().enumerate().skip(done(self, value)) {
                if !self.stage_text(batch, sql).await {
                    return false;
                }
                self.delivery.staged.insert(value.id, at + 1);
            }
        }
        true
    }

    async fn stage_text(&mut self, batch: &Batch, sql: &str) -> bool {
        match self.ask(sql).await {
            Verdict::Delivered(_) => return true,
            Verdict::Retry { after, reason } => {
                if !self.give_up_if_asked(batch.writes.len()) {
                    self.delivery.sent_bytes = sql.len();
                    self.suspect(batch.writes.len(), reason.clone());
                }
                self.pause(after, reason).await;
            }
            // The write whose value it is has to stand alone before it is given up.
            Verdict::Reject { .. } if batch.writes.len() > 1 => {
                self.delivery.width = batch.writes.len() / 2;
            }
            Verdict::Reject { .. } if batch.is_whole => {
                self.delivery.in_parts = batch.writes.first().map(|write| write.seq);
            }
            Verdict::Reject { reason } => self.reject_next(reason),
        }
        false
    }

    async fn send(&mut self, batch: Batch, standing: Standing) {
        let Batch { sql, writes, chain, joined, large, is_whole, end } = batch;
        self.delivery.is_whole = is_whole;
        self.delivery.sent_bytes = sql.len();
        let last = writes.last().map_or(self.delivery.position, |write| write.seq);
        self.delivery.sends.push(last);
        self.delivery.issued.push(Issued { chain, last });
        self.status().sends(chain);
        let excess = self.delivery.issued.len().saturating_sub(MAX_ISSUED);
        self.delivery.issued.drain(..excess);
        let excess = self.delivery.sends.len().saturating_sub(MAX_ISSUED);
        self.delivery.sends.drain(..excess);
        self.due = (writes.len() < GATHER_WRITES).then(|| Instant::now() + GATHER);
        self.delivery.carried = writes;
        self.delivery.joined = joined;
        // Before it is sent: a text that ran and is not in the journal would look like someone else's.
        self.keep();
        // Until an answer says otherwise: this request may be cut short at any moment.
        self.delivery.doubt =
            Some(Doubt::Lost(Reason::new(ReasonCode::Connection, "the request was not finished")));
        match self.ask(&sql).await {
            Verdict::Delivered(rows) => match rows.as_slice() {
                [row] if row.chain == chain && (row.seq, row.step) == end => {
                    // First: who wakes for an outcome must not find the replica as it was before.
                    self.recover();
                    self.delivery.staged.retain(|id, _| large.iter().all(|value| value.id != *id));
                    self.confirm(row, standing.id);
                    self.delivery.width = (self.delivery.width * 2).min(MAX_BATCH_WRITES);
                }
                _ => {
                    self.delivery.doubt = Some(Doubt::Lost(not_our_row()));
                    self.pause(None, not_our_row()).await;
                }
            },
            Verdict::Retry { after, reason } => {
                if reason.code == ReasonCode::Guard {
                    // The guard also asks whether the staged values are there, and whether joined rows are safe: perhaps
                    // one is not there, or the rows are not.
                    self.delivery.staged.clear();
                    if !self.delivery.joined.is_empty() || self.delivery.is_whole {
                        self.delivery.join = Join::Nothing;
                    }
                }
                self.delivery.doubt = Some(Doubt::Lost(reason.clone()));
                self.pause(after, reason).await;
            }
            // It carried nothing that could be given up.
            Verdict::Reject { reason } if self.delivery.carried.is_empty() => self.pause(None, reason).await,
            Verdict::Reject { reason } => self.delivery.doubt = Some(Doubt::Failed(reason)),
        }
    }

    /// Reads the row after an answer that did not tell what happened.
    async fn inspect(&mut self) {
        match self.ask(&inspect(&self.source.origin)).await {
            Verdict::Delivered(rows) => match rows.as_slice() {
                [row] if row.is_sound() => self.compare(row),
                [] => self.stop(Activity::Diverged, missing_row()),
                _ => self.pause(None, not_our_row()).await,
            },
            Verdict::Retry { after, reason } => self.pause(after, reason).await,
            Verdict::Reject { reason } if reason.code == ReasonCode::NoSuchTable => {
                self.stop(Activity::Diverged, missing_row());
            }
            Verdict::Reject { reason } => self.pause(None, reason).await,
        }
    }

    /// Draws the conclusion from the row.
    fn compare(&mut self, row: &Row) {
        let (Some(mut standing), Some(doubt)) = (self.delivery.standing, self.delivery.doubt.clone()) else {
            return;
        };
        // What fails again and cannot be made smaller is tried ever more rarely, unless something was settled.
        let stuck = doubt.is_stubborn() || matches!(doubt, Doubt::Lost(_)) && self.delivery.is_least();
        if row.is_new() && standing.is_new() {
            // The replica was set up anew, or tidied up, before it got anything from us.
            standing = *self.delivery.standing.insert(row.standing(row.id));
        }
        let at = match self.prove(row, standing) {
            _ if self.unreadable.is_some() || self.delivery.stopped.is_some() => return,
            Proof::Unmoved => {
                self.delivery.doubt = None;
                self.answered(self.delivery.carried.is_empty() && !stuck, !stuck);
                return self.nothing_ran(doubt);
            }
            Proof::Ran(at) => at,
            Proof::Foreign => return self.stop_at_foreign(row),
            Proof::Impossible => return self.stop(Activity::Diverged, impossible_row()),
        };
        // An older text that ran late says nothing about what the newest one was answered.
        let newest = at + 1 == self.delivery.issued.len();
        let before = (self.delivery.position, self.delivery.step);
        let carried = self.delivery.carried.len();
        // A text without writes is there to move the row.
        let settles = carried == 0 || (row.seq, row.step) > before;
        // First: who wakes for an outcome must not find the replica as it was before.
        self.answered(settles, newest && !stuck);
        let left = carried.saturating_sub(self.confirm(row, standing.id));
        if !newest || left == 0 {
            return;
        }
        match doubt {
            Doubt::Failed(reason) => self.settle_failed(reason),
            Doubt::Lost(reason) => self.suspect(left, reason),
        }
    }

    /// Someone else moved the row: perhaps a text of ours for another replica.
    fn stop_at_foreign(&mut self, row: &Row) {
        let shared = Arc::clone(&self.shared);
        let others = shared.status.iter().enumerate().filter(|(at, _)| *at != usize::from(self.replica));
        let same = others.into_iter().find(|(_, other)| other.has_sent(row.chain));
        let reason = same.map_or_else(foreign_row, |(at, _)| same_row(shared.name(at as u8)));
        self.stop(Activity::Diverged, reason);
    }

    /// Shortens the pause to the next try, as far as this one got somewhere: something was settled, or a smaller text comes
    /// next.
    fn answered(&mut self, settled: bool, smaller: bool) {
        if settled {
            self.recover();
        } else if smaller {
            self.backoff.ease();
        }
    }

    /// What the row proves. Where the journal cannot be read, that is noted, and the proof worth nothing.
    fn prove(&mut self, row: &Row, standing: Standing) -> Proof {
        let Delivery { position, step, .. } = self.delivery;
        let issued = self.delivery.issued.clone();
        prove(row, &Sent { standing, position, step, issued: &issued }, |seq| self.parts(seq))
    }

    /// How many statements for this replica the first open write after number `seq` has.
    fn parts(&mut self, seq: u64) -> u64 {
        let (replica, mut parts) = (self.replica, 0);
        self.read(|write| {
            if write.seq > seq {
                parts = write.statements_for(replica).count() as u64;
            }
            write.seq <= seq
        });
        parts
    }

    /// What is left of the newest text begins with the write that failed, unless others were joined with it: then these
    /// are sent once more, each by itself, and the one at fault will show.
    fn settle_failed(&mut self, reason: Reason) {
        let Some(next) = self.next_write() else { return };
        let statements = Progress::of(self.delivery.step).statements;
        let several = |apart: &Apart| apart.stands_for_several(next.seq, statements);
        if self.delivery.is_whole && self.delivery.apart.as_ref().is_some_and(several) {
            self.delivery.in_parts = Some(next.seq);
            return;
        }
        match self.delivery.joined.iter().find(|joined| joined.contains(&next.seq)) {
            Some(joined) => self.delivery.join = Join::After(*joined.end()),
            None => self.reject_next(reason),
        }
    }

    /// The row is as before: the replica undoes a text that fails, or never saw it, or refused it whole.
    fn nothing_ran(&mut self, doubt: Doubt) {
        let carried = self.delivery.carried.len();
        match doubt {
            Doubt::Failed(_) if carried > 1 => self.delivery.width = carried / 2,
            // Somebody on the way takes less than the replica: in parts it may get through.
            Doubt::Failed(reason)
                if reason.code == ReasonCode::TooLarge && self.delivery.shorten(MAX_SQL_BYTES) => {}
            Doubt::Failed(reason) => self.reject_next(reason),
            Doubt::Lost(reason) => self.suspect(carried, reason),
        }
    }

    /// Makes the next text smaller. An internal error can be the replica's, or be caused by one write each time. Alone in
    /// its batch often enough, a write is taken to be the cause, so that it does not hold up all others for ever.
    fn suspect(&mut self, writes: usize, reason: Reason) {
        if reason.code == ReasonCode::Guard || writes == 0 {
            return;
        }
        // Perhaps the text takes longer than somebody on the way allows: the same one would never get through.
        self.delivery.width = (writes / 2).max(1);
        let newest = self.delivery.issued.last().map(|issued| issued.chain);
        // Only what was sent after the user asked shows that the write does not get through.
        let again = self.delivery.gives_up.as_ref().is_some_and(|(_, before)| *before != newest);
        if again && self.give_up_if_asked(writes) {
            return;
        }
        if matches!(reason.code, ReasonCode::Timeout | ReasonCode::Unavailable) {
            self.delivery.shorten(self.delivery.sent_bytes / 2);
        }
        let Some(next) = self.next_write().filter(|_| reason.code == ReasonCode::Internal) else { return };
        let (seq, count) = self.delivery.internal_errors;
        let count = if seq == next.seq { count + 1 } else { 1 };
        self.delivery.internal_errors = (next.seq, count);
        if count >= MAX_INTERNAL_ERRORS {
            self.reject_next(reason);
        }
    }
}

fn foreign_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark was moved by someone else: another process writes as this origin, or the replica was \
         restored from a backup, or not among the settings for a while, or is among them twice; sync it anew, then resume it",
    )
}

fn same_row(other: &str) -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        format!(
            "the replica's watermark was moved by someone else: by what was sent to replica {other}; the two are one database \
             at two addresses, which gets each write once: take one of them out of the settings. Or they were swapped: sync \
             both anew, then resume them"
        ),
    )
}

fn missing_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark is gone: the replica was reset or swapped; sync it anew, then resume it",
    )
}

fn impossible_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark says what nothing that was sent can have made of it: somebody changed it, or the replica \
         cannot be trusted; find out, sync it anew, then resume it",
    )
}

fn not_our_row() -> Reason {
    Reason::new(ReasonCode::NotAReplica, "the answer does not hold the watermark that was asked for")
}
