//! How far one replica is, as it is kept in a journal's file.

use serde::{Deserialize, Serialize};

use crate::write::{Reason, ReasonCode, Standing};

/// The position of a replica that gets nothing of this journal any more.
pub const NOTHING_MORE: u64 = i64::MAX as u64;

/// What a new process has to know of a replica to go on where the old one stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Every write up to this one has its outcome.
    pub position: u64,
    /// The rest, which only the replica's task understands.
    pub state: State,
}

/// The part that is stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The watermark row as last confirmed; nothing where the replica was never reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// Statements applied of the first write that is not settled.
    #[serde(default)]
    pub step: u64,
    /// The texts sent since then. Saved before they are sent: a text whose chain is not here was sent by someone else.
    #[serde(default)]
    pub issued: Vec<Issued>,
    /// Why the replica gets nothing more, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Whether nothing more will be sent there as this origin.
    #[serde(default)]
    pub finished: bool,
    /// Whether any row is right that the replica holds: the user has said that it was synced anew.
    #[serde(default)]
    pub synced: bool,
}

/// A text that was sent, or was about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// How it is recognised on the replica.
    pub chain: u64,
    /// The last write it carried.
    pub last: u64,
}

/// Why only the user can let a replica go on. A halt is none: a new process tries the write again, and halts there if it
/// still has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It fell too far behind.
    Detached,
    /// Its watermark is not what we left.
    Diverged,
}

impl Stop {
    /// Its name in the file, and in `stats()`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Diverged => "diverged",
        }
    }
}

/// A stop that only the user can end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    activity: String,
    code: String,
    message: String,
}

impl Stopped {
    /// What to keep of a stop.
    pub fn new(stop: Stop, reason: &Reason) -> Self {
        Self {
            activity: stop.as_str().into(),
            code: reason.code.as_str().into(),
            message: reason.message.to_string(),
        }
    }

    /// Whether the replica fell too far behind.
    pub fn is_detached(&self) -> bool {
        self.activity == Stop::Detached.as_str()
    }

    /// The stop.
    pub fn restore(&self) -> (Stop, Reason) {
        let stop = if self.is_detached() { Stop::Detached } else { Stop::Diverged };
        let code = ReasonCode::named(&self.code).unwrap_or(ReasonCode::Diverged);
        (stop, Reason::new(code, self.message.as_str()))
    }
}
