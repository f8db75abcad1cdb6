//! One exchange with the replica at a time: the handshake first, then what the state of the delivery asks for.

use tokio::time::Instant;

use super::task::Task;
use crate::{
    replica::delivery::{delivery::Doubt, rows::not_our_row},
    wire::{Verdict, handshake},
    write::{Reason, ReasonCode},
};

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
}
