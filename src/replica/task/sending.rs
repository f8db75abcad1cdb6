//! From the journal to the replica: what is sent, and what its answer says at once.

use std::sync::Arc;

use tokio::time::Instant;

use super::task::Task;
use crate::{
    journal::Issued,
    replica::{
        delivery::{
            delivery::{Delivery, Doubt, MAX_BATCH_WRITES},
            rows::not_our_row,
        },
        shared::waking::{GATHER, GATHER_WRITES},
    },
    sql::LargeValue,
    wire::{
        Apart, Batch, BatchBuilder, Join, Limits, MAX_SQL_BYTES, Verdict, drop_all_large, drop_large,
        stage_large, stage_small,
    },
    write::{Reason, ReasonCode, Standing},
};

/// The most values removed with one text: their keys have 17 bytes.
const MAX_DROPPED: usize = 5_000;

/// The most texts whose fate is open that are remembered. A replica that answers questions but never a batch would else
/// make the list grow without end; should one forgotten here run after all, the replica is taken for diverged.
const MAX_ISSUED: usize = 1_000;

impl Task {
    pub(super) async fn deliver(&mut self, standing: Standing) {
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

    pub(super) async fn send(&mut self, batch: Batch, standing: Standing) {
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
}
