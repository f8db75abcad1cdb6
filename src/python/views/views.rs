//! What Python sees of outcomes, statistics and plans: values that do not change.

use std::time::UNIX_EPOCH;

use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{
    classification::{Statement, reasons},
    integrations::IntegrationStats,
};
use crate::{
    config::OnNondeterministic,
    journal::{self, LetterKey, Pending},
    python::process::border::entry,
    replica::Shared,
    sql::{Plan, Rules},
    write::{
        Body, SentStatement,
        outcome::{self, Status},
    },
};

/// What became of one write on one replica.
#[pyclass(frozen, eq, get_all, module = "afterquery")]
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The replica's name.
    replica: String,
    /// `"fulfilled"`: the replica has the write. `"rejected"`: it never will, and `reason` says why.
    status: &'static str,
    /// How many requests had the write in them, the one that settled it included.
    attempts: u32,
    /// Seconds from `after_query` to the outcome.
    latency: f64,
    /// Why it was rejected: a name that code may rely on, `: `, and words for people. Of a fulfilled write None, or
    /// `diverged: …` where it changed another number of rows than on the primary.
    reason: Option<String>,
    /// Rows changed on the replica, as SQLite's `changes()` counts them; None where it is not known.
    changes: Option<i64>,
}

impl Outcome {
    pub fn new(outcome: &outcome::Outcome, shared: &Shared) -> Self {
        let (status, reason, changes) = match &outcome.status {
            Status::Fulfilled { changes, differs_from } => {
                let told = differs_from.zip(*changes).map(|(expected, changes)| {
                    format!("diverged: it changed {changes} rows here and {expected} on the primary")
                });
                ("fulfilled", told, *changes)
            }
            Status::Rejected(reason) => ("rejected", Some(reason.to_string()), None),
        };
        Self {
            replica: shared.name(outcome.replica).to_owned(),
            status,
            attempts: outcome.attempts,
            latency: outcome.latency.as_secs_f64(),
            reason,
            changes,
        }
    }
}

#[pymethods]
impl Outcome {
    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let reason =
                self.reason.as_ref().map(|reason| format!(", reason={reason:?}")).unwrap_or_default();
            Ok(format!(
                "Outcome(replica={:?}, status={:?}, attempts={}, latency={:.6}{reason})",
                self.replica, self.status, self.attempts, self.latency
            ))
        })
    }
}

/// A rejected write, kept with its reason.
#[pyclass(frozen, module = "afterquery")]
pub struct DeadLetter {
    pub key: LetterKey,
    body: Body,
    /// Why the replica rejected it, as `Outcome.reason`.
    #[pyo3(get)]
    reason: String,
    /// How many requests had the write in them.
    #[pyo3(get)]
    attempts: u32,
    /// When it was rejected: seconds since 1970 (UTC), as `time.time()` gives them.
    #[pyo3(get)]
    time: f64,
}

impl From<journal::DeadLetter> for DeadLetter {
    fn from(letter: journal::DeadLetter) -> Self {
        let since = letter.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            body: letter.body,
            reason: letter.reason.to_string(),
            attempts: letter.attempts,
            time: since.as_secs_f64(),
            key: letter.key,
        }
    }
}

#[pymethods]
impl DeadLetter {
    /// The name of the replica that rejected it.
    #[getter]
    fn replica(&self) -> &str {
        &self.key.replica
    }

    /// The origin (a UUID) that numbered the write.
    #[getter]
    fn origin(&self) -> &str {
        &self.key.origin
    }

    /// The write's number within its origin, from 1.
    #[getter]
    fn seq(&self) -> u64 {
        self.key.seq
    }

    /// The texts that were to run there, with their values in them.
    #[getter]
    fn statements<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("statements", || PyTuple::new(py, self.body.statements().iter().map(SentStatement::whole)))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            Ok(format!(
                "DeadLetter(replica={:?}, seq={}, reason={:?})",
                self.key.replica, self.key.seq, self.reason
            ))
        })
    }
}

/// One replica's condition and counters.
#[pyclass(frozen, get_all, module = "afterquery")]
#[derive(Clone)]
pub struct ReplicaStats {
    /// The replica's name; its URL where none was given.
    name: String,
    /// Where it lives.
    url: String,
    /// `"connecting"`: it has not answered yet. `"live"`: it answers. `"retrying"`: the last request failed and is
    /// tried again. `"halted"`, `"detached"`, `"diverged"`: it gets nothing until `resume()`. `"closed"`.
    state: &'static str,
    /// `"closed"`: requests go out. `"open"`: after many failures none goes out for a while. `"half_open"`: one is
    /// tried.
    breaker: &'static str,
    /// Whether the replica is known to differ from the primary: it rejected a write, or changed other numbers of
    /// rows.
    diverged: bool,
    /// Writes without an outcome here.
    pending: usize,
    /// Their size in memory or in the journal, in bytes.
    pending_bytes: usize,
    /// Seconds since the oldest write without an outcome here was handed over; 0.0 if there is none.
    lag: f64,
    /// The `seq` up to which every write of this process has an outcome here.
    acknowledged: u64,
    /// Writes that it has, since this process started.
    fulfilled: u64,
    /// Writes that it rejected, since this process started.
    rejected: u64,
    /// Requests sent to it, since this process started.
    requests: u64,
    /// How many of them were tried again.
    retries: u64,
    /// Writes that changed another number of rows here than on the primary.
    changes_differ: u64,
    /// What is wrong with it now, as `Outcome.reason`; None if nothing is.
    reason: Option<String>,
}

impl ReplicaStats {
    fn new(shared: &Shared, index: usize) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let status = &shared.status[index];
        let condition = status.condition();
        let lag = shared.lag(index as u8);
        let acknowledged = status.acknowledged.load(Relaxed);
        let oldest = shared.oldest_open(index as u8);
        Self {
            name: shared.name(index as u8).to_owned(),
            url: shared.config.replicas[index].endpoint.base.to_string(),
            state: condition.activity.as_str(),
            breaker: condition.breaker.as_str(),
            diverged: status.diverged.load(Relaxed),
            pending: lag.writes,
            pending_bytes: lag.bytes,
            lag: oldest.map_or(0.0, |oldest| oldest.elapsed().as_secs_f64()),
            acknowledged,
            fulfilled: status.fulfilled.load(Relaxed),
            rejected: status.rejected.load(Relaxed),
            requests: status.requests.load(Relaxed),
            retries: status.retries.load(Relaxed),
            changes_differ: status.changes_differ.load(Relaxed),
            reason: condition.reason.map(|reason| reason.to_string()),
        }
    }
}

#[pymethods]
impl ReplicaStats {
    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let reason =
                self.reason.as_ref().map(|reason| format!(", reason={reason:?}")).unwrap_or_default();
            Ok(format!(
                "ReplicaStats(name={:?}, state={:?}, pending={}{reason})",
                self.name, self.state, self.pending
            ))
        })
    }
}

/// A replicator's counters at one moment.
#[pyclass(frozen, module = "afterquery")]
pub struct Stats {
    /// Writes handed over since this process started.
    #[pyo3(get)]
    pub writes: u64,
    /// Writes that some replica has no outcome for, those of adopted journals included.
    #[pyo3(get)]
    pub pending: usize,
    /// Their size, in bytes.
    #[pyo3(get)]
    pub pending_bytes: usize,
    pub skipped: Vec<(&'static str, u64)>,
    replicas: Vec<ReplicaStats>,
    /// Statements that may differ on a replica, whatever the setting did with them.
    #[pyo3(get)]
    pub nondeterministic: u64,
    /// Dead letters that `max_dead_letters` had no room for: they are lost.
    #[pyo3(get)]
    pub dead_letters_dropped: u64,
    /// Log records that Python did not take in time.
    #[pyo3(get)]
    pub logs_dropped: u64,
    /// Errors of ours that were caught before they reached the application, in this process.
    #[pyo3(get)]
    panics: u64,
    /// Writes that are not in the journal's file yet; 0 without a journal.
    #[pyo3(get)]
    unsaved: u64,
    /// Why the journal cannot be written now; None if it can.
    #[pyo3(get)]
    journal_problem: Option<String>,
    /// What the integrations know that the core does not: errors, commits held back.
    #[pyo3(get)]
    integrations: IntegrationStats,
    /// Journals of dead processes that this one delivers.
    #[pyo3(get)]
    adopted_journals: usize,
    /// Journals of dead processes that wait for their turn.
    #[pyo3(get)]
    waiting_journals: usize,
    /// Journals of dead processes that cannot be read; the log has their paths.
    #[pyo3(get)]
    damaged_journals: usize,
    /// Why it is not certain that the replicas have all that the primary has; None if nothing says so.
    #[pyo3(get)]
    not_certain: Option<String>,
    /// Writes that came after `close()`.
    #[pyo3(get)]
    refused: u64,
    /// Statements that were lost because delivery could not start in a forked child.
    #[pyo3(get)]
    lost: u64,
}

impl Stats {
    pub fn new(live: &crate::python::process::live::Live, integrations: IntegrationStats, lost: u64) -> Self {
        let shared = live.engine.shared();
        let sources = shared.sources();
        let total = sources.iter().fold(Pending::default(), |sum, source| sum + source.journal.total());
        Self {
            writes: live.engine.writes(),
            pending: total.writes,
            pending_bytes: total.bytes,
            skipped: live.engine.skipped().map(|(skip, count)| (skip.as_str(), count)).collect(),
            replicas: (0..shared.status.len()).map(|index| ReplicaStats::new(shared, index)).collect(),
            nondeterministic: live.engine.nondeterministic(),
            dead_letters_dropped: shared.dead_dropped.load(std::sync::atomic::Ordering::Relaxed),
            logs_dropped: live.logs_dropped(),
            panics: crate::ground::panics::count(),
            unsaved: shared.own.journal.unsaved(),
            journal_problem: shared.journal_problem(),
            integrations,
            adopted_journals: sources.len() - 1,
            waiting_journals: shared.adoption.waiting(),
            damaged_journals: shared.adoption.damaged(),
            not_certain: shared.adoption.not_certain(),
            refused: shared.refused.load(std::sync::atomic::Ordering::Relaxed),
            lost,
        }
    }
}

#[pymethods]
impl Stats {
    /// Statements left out, by reason: every reason is a key, and most are 0.
    #[getter]
    fn skipped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        entry("skipped", || {
            let skipped = PyDict::new(py);
            for (name, count) in &self.skipped {
                skipped.set_item(name, count)?;
            }
            Ok(skipped)
        })
    }

    /// One entry for each replica, in the order in which they were given.
    #[getter]
    fn replicas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("replicas", || PyTuple::new(py, self.replicas.iter().cloned()))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            Ok(format!(
                "Stats(writes={}, pending={}, replicas={})",
                self.writes,
                self.pending,
                self.replicas.len()
            ))
        })
    }
}

/// What would happen to one statement, and why.
#[pyclass(frozen, module = "afterquery")]
#[derive(Clone)]
pub struct StatementExplanation {
    statement: Statement,
    replicas: Vec<String>,
    /// Why, in words.
    #[pyo3(get)]
    reason: String,
}

impl StatementExplanation {
    fn shown(&self) -> String {
        format!(
            "StatementExplanation({}, replicas={:?}, reason={:?})",
            self.statement.shown(),
            self.replicas,
            self.reason
        )
    }
}

#[pymethods]
impl StatementExplanation {
    /// The statement's own text.
    #[getter]
    fn sql(&self) -> &str {
        &self.statement.sql
    }

    /// `"read"`, `"write"`, `"ddl"`, `"txn"`, `"other"` or `"unknown"`.
    #[getter]
    fn kind(&self) -> &str {
        self.statement.kind
    }

    /// Its first word that counts, in capitals: `"INSERT"` for REPLACE, too.
    #[getter]
    fn verb(&self) -> &str {
        self.statement.verb
    }

    /// The schema that stands before the table's name, if any.
    #[getter]
    fn schema(&self) -> Option<&str> {
        self.statement.schema.as_deref()
    }

    /// The table it writes to, if it names one.
    #[getter]
    fn table(&self) -> Option<&str> {
        self.statement.table.as_deref()
    }

    /// Whether it means the same on a replica, as far as the text shows.
    #[getter]
    fn deterministic(&self) -> bool {
        self.statement.reasons.is_empty()
    }

    /// What in it may differ on a replica, each thing once.
    #[getter]
    fn reasons<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("reasons", || PyTuple::new(py, &self.statement.reasons))
    }

    /// The names of the replicas that would get it.
    #[getter]
    fn replicas<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("replicas", || PyTuple::new(py, &self.replicas))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || Ok(self.shown()))
    }
}

/// What would happen to a text.
#[pyclass(frozen, module = "afterquery")]
pub struct Explanation {
    statements: Vec<StatementExplanation>,
}

impl Explanation {
    pub fn new(sql: &str, rules: &Rules, names: &[String], policy: OnNondeterministic) -> Self {
        let (classification, decisions) = Plan::explain(sql, rules);
        let statements = classification.statements.iter().zip(decisions).map(|(statement, decision)| {
            let (replicas, reason) = match decision {
                Ok(set) => {
                    let chosen = crate::sql::replicas_in(set).map(|index| names[index].clone()).collect();
                    (chosen, sent(&reasons(statement), policy))
                }
                Err(skip) => (Vec::new(), format!("{}: {}", skip.as_str(), skip.explanation())),
            };
            StatementExplanation { statement: Statement::new(sql, statement), replicas, reason }
        });
        Self { statements: statements.collect() }
    }
}

/// What happens to a statement that is for some replicas.
fn sent(reasons: &[String], policy: OnNondeterministic) -> String {
    let what = match policy {
        _ if reasons.is_empty() => return "it is replicated".into(),
        OnNondeterministic::Warn => "it is replicated, but may differ",
        OnNondeterministic::Reject => "it is rejected",
        OnNondeterministic::Rows => "its rows are replicated in its place",
    };
    format!("{what} unless before_query freezes it: it {}", reasons.join(", it "))
}

#[pymethods]
impl Explanation {
    /// Whether any statement would be sent to any replica.
    #[getter]
    fn replicated(&self) -> PyResult<bool> {
        entry("replicated", || Ok(self.statements.iter().any(|statement| !statement.replicas.is_empty())))
    }

    /// One entry for each statement of the text, in source order.
    #[getter]
    fn statements<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("statements", || PyTuple::new(py, self.statements.iter().cloned()))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let shown: Vec<_> = self.statements.iter().map(StatementExplanation::shown).collect();
            Ok(format!("Explanation([{}])", shown.join(", ")))
        })
    }
}

/// What a replicator with these settings would do with a text, and why.
#[pyfunction]
#[pyo3(signature = (sql, *, tables=None, ddl=false))]
pub fn explain(sql: &str, tables: Option<&Bound<'_, PyAny>>, ddl: bool) -> PyResult<Explanation> {
    entry("explain", || {
        let tables = tables.map(crate::python::settings::config::table_names).transpose()?;
        let tables = tables.map(|tables| tables.into_iter().map(Into::into).collect());
        let rules = Rules { tables: vec![tables], ddl };
        Ok(Explanation::new(sql, &rules, &["replica".to_owned()], OnNondeterministic::default()))
    })
}
