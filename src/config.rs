//! The settings of a replicator, checked.

use std::time::Duration;

use crate::{
    ground::{
        error::Error,
        quoted::{acts, one_line},
    },
    journal::{JournalConfig, Limits, Pending},
    sql::{MAX_REPLICAS, Rules},
    wire::Endpoint,
};

/// The longest name of a replica, in bytes: it stands in every log line about it. A URL is a name, too.
pub const MAX_NAME_BYTES: usize = 500;

/// What a replicator does when a replica rejects a write for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReject {
    /// Keeps it as a dead letter and goes on.
    #[default]
    DeadLetter,
    /// Stops there until it is resumed.
    Halt,
}

/// What happens to a statement that may do something else on a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNondeterministic {
    /// It is replicated, and the user told.
    #[default]
    Warn,
    /// It is rejected.
    Reject,
    /// The rows it changed are replicated instead; without them it is rejected.
    Rows,
}

/// One replica's settings.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// How it is called in outcomes, statistics and logs.
    pub name: String,
    /// Where it answers.
    pub endpoint: Endpoint,
    /// Its allow-list of tables; `None` allows all.
    pub tables: Option<Vec<Box<str>>>,
    /// How far it may fall behind.
    pub max_lag: Pending,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The replicas.
    pub replicas: Vec<ReplicaConfig>,
    /// Whether CREATE, ALTER and DROP are replicated.
    pub ddl: bool,
    /// What happens at a rejected write.
    pub on_reject: OnReject,
    /// What happens to a statement that may do something else on a replica.
    pub nondeterministic: OnNondeterministic,
    /// How much may be pending in all.
    pub max_pending: Pending,
    /// Where writes are kept until they are settled; in memory if nowhere.
    pub journal: Option<JournalConfig>,
    /// How many dead letters are kept.
    pub max_dead_letters: usize,
    /// The time to make a connection.
    pub connect_timeout: Duration,
    /// The time for one request, from the first byte sent to the last received.
    pub request_timeout: Duration,
    /// The first pause after a failure is at most this; each further one at most twice the one before.
    pub retry_base: Duration,
    /// No pause is longer, unless the replica asks for it.
    pub retry_max: Duration,
    /// Whether logs and reasons may show the values in the SQL they are about.
    pub log_values: bool,
}

impl Config {
    /// Says what cannot work.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |option, value: String, problem: &str| {
            Err(Error::InvalidOption { option, value, problem: problem.into() })
        };
        let count = self.replicas.len();
        if count == 0 || count > MAX_REPLICAS {
            return invalid("replicas", format!("[{count} replicas]"), &format!("give 1 to {MAX_REPLICAS}"));
        }
        for (i, replica) in self.replicas.iter().enumerate() {
            if replica.name.is_empty()
                || replica.name.len() > MAX_NAME_BYTES
                || replica.name.chars().any(acts)
            {
                return invalid(
                    "name",
                    format!("{:?}", one_line(&replica.name, MAX_NAME_BYTES)),
                    &format!(
                        "a replica's name is shown in logs: 1 to {MAX_NAME_BYTES} bytes, no control characters"
                    ),
                );
            }
            if self.replicas[..i].iter().any(|other| other.name == replica.name) {
                return invalid(
                    "replicas",
                    replica.name.clone(),
                    "two replicas have this name; give each its own name=",
                );
            }
            if self.replicas[..i].iter().any(|other| other.endpoint.is_at(&replica.endpoint)) {
                return invalid(
                    "replicas",
                    replica.name.clone(),
                    "two replicas have this address; each write goes to a replica once",
                );
            }
        }
        for (option, value) in [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("retry_base", self.retry_base),
            ("retry_max", self.retry_max),
        ] {
            if value.is_zero() {
                return invalid(option, "0".into(), "it is in seconds and must be more than 0");
            }
        }
        if let Some(journal) = &self.journal {
            if journal.max_bytes == 0 {
                return invalid("max_journal_bytes", "0".into(), "it must be at least 1");
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if let Some(origin) = journal.origin.as_ref().filter(|o| o.is_empty() || !o.chars().all(plain)) {
                return invalid("origin", format!("{origin:?}"), "it may hold letters, digits and '-'");
            }
        }
        for (option, value) in
            [("max_pending_writes", self.max_pending.writes), ("max_pending_bytes", self.max_pending.bytes)]
        {
            if value == 0 {
                return invalid(option, "0".into(), "it must be at least 1");
            }
        }
        Ok(())
    }

    /// The replicas' names, in order.
    pub fn names(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| replica.name.clone()).collect()
    }

    /// What the plans depend on.
    pub fn rules(&self) -> Rules {
        Rules { tables: self.replicas.iter().map(|replica| replica.tables.clone()).collect(), ddl: self.ddl }
    }

    /// What the journal is bounded by.
    pub fn limits(&self) -> Limits {
        Limits {
            max_pending_writes: self.max_pending.writes,
            max_pending_bytes: self.max_pending.bytes,
            max_journal_bytes: self.journal.as_ref().map_or(usize::MAX, |journal| journal.max_bytes),
            max_lag: self.replicas.iter().map(|replica| replica.max_lag).collect(),
        }
    }
}
