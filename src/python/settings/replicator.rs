//! All settings of a replicator, as Python gives them.

use std::path::PathBuf;

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyString};

use super::{
    config::{Defaults, Token, replica_config, seconds, table_names},
    journal::{DefaultLimits, journal_config, not_one_of},
};
use crate::{
    config::{Config, OnNondeterministic, OnReject},
    journal::Pending,
    wire::Proxy,
};

/// The arguments of `Replicator()`.
pub struct Arguments<'a, 'py> {
    pub replicas: &'a Bound<'py, PyAny>,
    pub auth_token: Option<Token>,
    pub tables: Option<&'a Bound<'py, PyAny>>,
    pub ddl: bool,
    pub on_reject: &'a str,
    pub nondeterministic: &'a str,
    pub journal: Option<PathBuf>,
    pub durability: &'a str,
    pub max_journal_bytes: usize,
    pub max_pending_writes: usize,
    pub max_pending_bytes: usize,
    pub max_lag_writes: Option<usize>,
    pub max_lag_bytes: Option<usize>,
    pub max_dead_letters: Option<usize>,
    pub connect_timeout: f64,
    pub request_timeout: f64,
    pub retry_base: f64,
    pub retry_max: f64,
    pub origin: Option<String>,
    pub proxy: Option<&'a str>,
    pub log_values: bool,
}

impl Arguments<'_, '_> {
    /// The settings as the core takes them, not yet checked.
    pub fn config(self) -> PyResult<Config> {
        if self.replicas.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(
                "replicas must be a list of URLs or Replica objects, not one string",
            ));
        }
        let journal = journal_config(self.journal, self.durability, self.max_journal_bytes, self.origin)?;
        let limits = DefaultLimits::of(journal.is_some());
        let defaults = Defaults {
            auth_token: self.auth_token.map(|Token(token)| token),
            proxy: self.proxy.map(Proxy::new).transpose()?.unwrap_or_default(),
            tables: self.tables.map(table_names).transpose()?,
            max_lag: Pending {
                writes: self.max_lag_writes.unwrap_or(limits.max_lag.writes),
                bytes: self.max_lag_bytes.unwrap_or(limits.max_lag.bytes),
            },
        };
        let replicas = self
            .replicas
            .try_iter()?
            .map(|entry| replica_config(&entry?, &defaults))
            .collect::<PyResult<_>>()?;
        Ok(Config {
            replicas,
            ddl: self.ddl,
            on_reject: on_reject(self.on_reject)?,
            nondeterministic: on_nondeterministic(self.nondeterministic)?,
            max_pending: Pending { writes: self.max_pending_writes, bytes: self.max_pending_bytes },
            journal,
            max_dead_letters: self.max_dead_letters.unwrap_or(limits.max_dead_letters),
            connect_timeout: seconds("connect_timeout", self.connect_timeout)?,
            request_timeout: seconds("request_timeout", self.request_timeout)?,
            retry_base: seconds("retry_base", self.retry_base)?,
            retry_max: seconds("retry_max", self.retry_max)?,
            log_values: self.log_values,
        })
    }
}

fn on_reject(given: &str) -> PyResult<OnReject> {
    match given {
        "dead_letter" => Ok(OnReject::DeadLetter),
        "halt" => Ok(OnReject::Halt),
        other => Err(not_one_of("on_reject", other, "\"dead_letter\" or \"halt\"")),
    }
}

fn on_nondeterministic(given: &str) -> PyResult<OnNondeterministic> {
    match given {
        "warn" => Ok(OnNondeterministic::Warn),
        "reject" => Ok(OnNondeterministic::Reject),
        "rows" => Ok(OnNondeterministic::Rows),
        other => Err(not_one_of("nondeterministic", other, "\"warn\", \"reject\" or \"rows\"")),
    }
}
