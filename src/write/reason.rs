//! Why a write was rejected, is being retried or was left out: a closed set of names, each with a message.

use std::fmt;

use crate::ground::quoted::{MAX_MESSAGE_BYTES, Quoted};

/// The name of a reason. It is what code may rely on; the message is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// A constraint of the replica refused the write.
    Constraint,
    /// The table is not there on the replica.
    NoSuchTable,
    /// Another SQL error of the replica.
    Sql,
    /// The write does not fit the replica's limits.
    TooLarge,
    /// A parameter is missing, left over or of a type that cannot be sent.
    Parameters,
    /// It would do something else on a replica, and `nondeterministic=` forbids that.
    Nondeterministic,
    /// The replica refused the token.
    Unauthorized,
    /// The replica took the token for one that may not do what a sender has to.
    ClientToken,
    /// The address answers, but not as a replica does.
    NotAReplica,
    /// The replica asked for fewer requests.
    RateLimited,
    /// The replica, or something in front of it, cannot answer now.
    Unavailable,
    /// The replica's storage failed for a reason of its own.
    Internal,
    /// The replica's watermark was not where a text expected it: an earlier text ran late, say.
    Guard,
    /// No answer in time.
    Timeout,
    /// No connection, or a broken one.
    Connection,
    /// The replica's watermark is not what this origin left there.
    Diverged,
    /// The replica fell further behind than its limit.
    Detached,
    /// The replica stopped at a rejected write (`on_reject="halt"`).
    Halted,
    /// The write alone is larger than everything that may be pending.
    Overflow,
    /// The replicator was closed before the write was confirmed.
    Closed,
    /// The write was made in a process that has since forked; it stays with the parent.
    Forked,
    /// The journal's file is damaged.
    Journal,
    /// afterquery itself failed: a bug.
    Panic,
}

impl ReasonCode {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Constraint,
        Self::NoSuchTable,
        Self::Sql,
        Self::TooLarge,
        Self::Parameters,
        Self::Nondeterministic,
        Self::Unauthorized,
        Self::ClientToken,
        Self::NotAReplica,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
        Self::Guard,
        Self::Timeout,
        Self::Connection,
        Self::Diverged,
        Self::Detached,
        Self::Halted,
        Self::Overflow,
        Self::Closed,
        Self::Forked,
        Self::Journal,
        Self::Panic,
    ];

    /// The name as it is shown, in the words of the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Constraint => "constraint",
            Self::NoSuchTable => "no_such_table",
            Self::Sql => "sql",
            Self::TooLarge => "too_large",
            Self::Parameters => "parameters",
            Self::Nondeterministic => "nondeterministic",
            Self::Unauthorized => "unauthorized",
            Self::ClientToken => "client_token",
            Self::NotAReplica => "not_a_replica",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Guard => "guard",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Diverged => "diverged",
            Self::Detached => "detached",
            Self::Halted => "halted",
            Self::Overflow => "overflow",
            Self::Closed => "closed",
            Self::Forked => "forked",
            Self::Journal => "journal",
            Self::Panic => "panic",
        }
    }

    /// The reason with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// Whether the set-up is at fault (a token, an address), so that retrying quickly helps nobody.
    pub fn is_setup(self) -> bool {
        matches!(self, Self::Unauthorized | Self::ClientToken | Self::NotAReplica)
    }
}

/// A named reason with its message. Cheap to clone: one rejected batch may give it to many writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The name.
    pub code: ReasonCode,
    /// What happened, for people. Never holds a token, and has the form of a [`Quoted`] wherever it came from.
    pub message: Quoted,
}

impl Reason {
    /// A reason of this name and message. Whatever the message quotes, from a replica or a file, is shown on one line and cut.
    pub fn new(code: ReasonCode, message: impl AsRef<str>) -> Self {
        Self { code, message: Quoted::new(message.as_ref(), MAX_MESSAGE_BYTES) }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}
