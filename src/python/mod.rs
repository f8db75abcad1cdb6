//! The Python face. A function here detaches, calls the core and maps what comes back. Each room stands on those before it:
//! - `process`: errors, the border that no panic crosses, threads, what runs in this process.
//! - `settings`, `given`: what comes in.
//! - `views`: what goes out.
//! - `replicator`: the replicator, its transactions and its handles.

mod given;
mod process;
mod replicator;
mod settings;
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
        process::live::close_all,
        replicator::{replication::Replication, replicator::Replicator, transaction::Transaction},
        settings::config::Replica,
        views::{
            classification::{Classification, Statement, classify, split_statements},
            explanation::{Explanation, StatementExplanation, explain},
            integrations::IntegrationStats,
            letter::DeadLetter,
            outcome::Outcome,
            shown::{escaped, quoted, without_values},
            stats::{ReplicaStats, Stats},
        },
    };

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::ground::fork::watch();
        crate::ground::panics::watch();
        super::given::values::prepare(module.py());
        module.add("__profile__", PROFILE)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
