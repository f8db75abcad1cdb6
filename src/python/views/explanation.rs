//! What would happen to a text, and why.

use pyo3::{prelude::*, types::PyTuple};

use super::classification::{Statement, reasons};
use crate::{
    config::OnNondeterministic,
    python::process::border::entry,
    sql::{Plan, Rules},
};

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
