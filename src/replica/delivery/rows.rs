//! What to say of a watermark row that is not as it should be.

use crate::write::{Reason, ReasonCode};

pub fn foreign_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark was moved by someone else: another process writes as this origin, or the replica was \
         restored from a backup, or not among the settings for a while, or is among them twice; sync it anew, then resume it",
    )
}

pub fn same_row(other: &str) -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        format!(
            "the replica's watermark was moved by someone else: by what was sent to replica {other}; the two are one database \
             at two addresses, which gets each write once: take one of them out of the settings. Or they were swapped: sync \
             both anew, then resume them"
        ),
    )
}

pub fn missing_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark is gone: the replica was reset or swapped; sync it anew, then resume it",
    )
}

pub fn impossible_row() -> Reason {
    Reason::new(
        ReasonCode::Diverged,
        "the replica's watermark says what nothing that was sent can have made of it: somebody changed it, or the replica \
         cannot be trusted; find out, sync it anew, then resume it",
    )
}

pub fn not_our_row() -> Reason {
    Reason::new(ReasonCode::NotAReplica, "the answer does not hold the watermark that was asked for")
}
