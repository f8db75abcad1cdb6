//! The state of a delivery: what is known of the replica, and what is in doubt.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    journal::{Cursor, Issued, State, Stopped},
    wire::{Apart, Join, MAX_SQL_BYTES},
    write::{Reason, ReasonCode, Standing, Write},
};

/// How often an idle task shows the replica that its origin still lives (see `wire::watermark::ORPHAN_SECONDS`).
pub(in crate::replica) const TOUCH: Duration = Duration::from_secs(86_400);

/// The most writes in one batch. Marks fill a text of [`MAX_SQL_BYTES`] before this; it bounds the memory of
/// one batch should that limit ever grow.
pub(in crate::replica) const MAX_BATCH_WRITES: usize = 2_000;

/// What is known of the replica.
#[derive(Debug)]
pub struct Delivery {
    /// Every write up to this one has its outcome.
    pub position: u64,
    /// When the handshake was made.
    pub(in crate::replica) greeted: Option<Instant>,
    /// The watermark row as last confirmed.
    pub(in crate::replica) standing: Option<Standing>,
    /// Statements applied of the first write that is not settled.
    pub(in crate::replica) step: u64,
    /// The texts sent since then. All expect the same row, so at most one of them can ever run.
    pub(in crate::replica) issued: Vec<Issued>,
    /// The writes that the newest of them carried.
    pub(in crate::replica) carried: Vec<Arc<Write>>,
    /// An answer that does not tell what happened: the row has to be read.
    pub(in crate::replica) doubt: Option<Doubt>,
    /// How many pieces of which large values are on the replica.
    pub(in crate::replica) staged: HashMap<u64, usize>,
    /// The last write in each text sent that is not settled: an outcome's number of attempts.
    pub(in crate::replica) sends: Vec<u64>,
    /// The writes in each statement of the newest of them that joins the rows of several.
    pub(in crate::replica) joined: Vec<RangeInclusive<u64>>,
    /// Which rows may be sent so.
    pub(in crate::replica) join: Join,
    /// The most writes in the next batch: halved to find the one at fault.
    pub(in crate::replica) width: usize,
    /// Internal errors of a write alone in its batch: its number, and how many.
    pub(in crate::replica) internal_errors: (u64, u32),
    /// The write at which the replica halted, with its reason.
    pub(in crate::replica) halted: Option<(Arc<Write>, Reason)>,
    /// What was set apart of the statement that is being sent in parts.
    pub(in crate::replica) apart: Option<Apart>,
    /// Whether in the newest text something shorter stands for its only write.
    pub(in crate::replica) is_whole: bool,
    /// A write that goes in parts, so that the statement at fault is found.
    pub(in crate::replica) in_parts: Option<u64>,
    /// How many bytes the newest text had.
    pub(in crate::replica) sent_bytes: usize,
    /// The longest text that got through to a replica that says it takes longer ones, or somebody before it does not.
    pub(in crate::replica) longest: Option<usize>,
    /// Staged values whose write was given up: to be removed.
    pub(in crate::replica) litter: Vec<u64>,
    /// Whether an earlier process may have left any there.
    pub(in crate::replica) littered: bool,
    /// Why the replica gets nothing more.
    pub(in crate::replica) stopped: Option<Stopped>,
    /// Whether it needs nothing more as this origin.
    pub(in crate::replica) finished: bool,
    /// Whether any row is right that the replica holds: the user has said that it was synced anew.
    pub(in crate::replica) synced: bool,
    /// That the user wants a write given up that does not get through: why it did not when that was asked, and the text
    /// that was sent last then.
    pub(in crate::replica) gives_up: Option<(Reason, Option<u64>)>,
    /// The write that is given up, and why it did not get through.
    pub(in crate::replica) giving_up: Option<(u64, Reason)>,
}

/// Why the row has to be read.
#[derive(Debug, Clone)]
pub(in crate::replica) enum Doubt {
    /// It may have run.
    Lost(Reason),
    /// A statement of it failed for good.
    Failed(Reason),
}

impl Doubt {
    /// Whether a smaller text would hardly fare better: the head did not find the row as it expects it, or the set-up is at
    /// fault.
    pub(in crate::replica) fn is_stubborn(&self) -> bool {
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
    pub(in crate::replica) fn begin_again(&mut self, kept: &Cursor) {
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
    pub(in crate::replica) fn is_greeted(&self) -> bool {
        self.greeted.is_some_and(|at| at.elapsed() < TOUCH)
    }

    /// Whether what it was asked last cannot be made smaller.
    pub(in crate::replica) fn is_least(&self) -> bool {
        self.carried.len() == 1 || self.carried.is_empty() && self.synced && self.is_greeted()
    }

    /// Notes that a text as long as the newest does not get through. `false` where it was no longer than any may be.
    pub(in crate::replica) fn shorten(&mut self, to: usize) -> bool {
        if self.sent_bytes <= MAX_SQL_BYTES {
            return false;
        }
        self.longest = Some(to.max(MAX_SQL_BYTES));
        true
    }

    pub(in crate::replica) fn attempts(&self, seq: u64) -> u32 {
        self.sends.iter().filter(|&&last| last >= seq).count() as u32
    }
}
