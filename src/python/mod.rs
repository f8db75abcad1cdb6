//! The Python face. A function here detaches, calls the core and maps what comes back.

mod border;
mod bridge;
mod classification;
mod config;
mod determinism;
mod errors;
mod given;
mod integrations;
mod known;
mod live;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod memory;
mod params;
mod replication;
mod replicator;
mod shown;
mod transaction;
mod values;
mod views;

use pyo3::prelude::*;

/// How it was built: a number that somebody reads must not pass for one of a release build.
const PROFILE: &str = match option_env!("AFTERQUERY_PROFILE") {
    Some(profile) => profile,
    None if cfg!(debug_assertions) => "dev",
    None => "release",
};

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::{
        classification::{Classification, Statement, classify, split_statements},
        config::Replica,
        integrations::IntegrationStats,
        live::close_all,
        replication::Replication,
        replicator::Replicator,
        shown::{escaped, quoted, without_values},
        transaction::Transaction,
        views::{DeadLetter, Explanation, Outcome, ReplicaStats, StatementExplanation, Stats, explain},
    };

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::fork::watch();
        crate::panics::watch();
        super::values::prepare(module.py());
        module.add("__profile__", PROFILE)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
