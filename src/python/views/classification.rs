//! What a text does, as Python sees it.

use pyo3::{prelude::*, types::PyTuple};

use crate::{
    python::process::border::entry,
    sql::{self, Kind},
};

/// One statement of a text.
#[pyclass(frozen, eq, hash, module = "afterquery")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Statement {
    /// The statement's own text.
    #[pyo3(get)]
    pub sql: String,
    /// `"read"`, `"write"`, `"ddl"`, `"txn"`, `"other"` or `"unknown"`.
    #[pyo3(get)]
    pub kind: &'static str,
    /// Its first word that counts, in capitals: `"INSERT"` for REPLACE, too.
    #[pyo3(get)]
    pub verb: &'static str,
    /// The table it writes to, if it names one.
    #[pyo3(get)]
    pub table: Option<String>,
    /// The schema that stands before the table's name, if any.
    #[pyo3(get)]
    pub schema: Option<String>,
    /// The savepoint that it makes, releases or goes back to, if any.
    #[pyo3(get)]
    savepoint: Option<String>,
    /// Whether it has a RETURNING clause.
    #[pyo3(get)]
    returning: bool,
    pub reasons: Vec<String>,
}

impl Statement {
    /// Its `repr`.
    pub fn shown(&self) -> String {
        let table = self.table.as_ref().map(|table| format!(", table={table:?}")).unwrap_or_default();
        format!("Statement(kind={:?}, verb={:?}{table})", self.kind, self.verb)
    }

    pub fn new(sql: &str, statement: &sql::Statement) -> Self {
        Self {
            sql: sql[statement.span.clone()].to_owned(),
            kind: kind_name(statement.kind),
            verb: statement.verb,
            table: statement.table.as_deref().map(str::to_owned),
            schema: statement.schema.as_deref().map(str::to_owned),
            savepoint: statement.savepoint.as_deref().map(str::to_owned),
            returning: statement.returning.is_some(),
            reasons: reasons(statement),
        }
    }
}

#[pymethods]
impl Statement {
    /// Whether it means the same on a replica, as far as the text shows.
    #[getter]
    fn deterministic(&self) -> bool {
        self.reasons.is_empty()
    }

    /// What in it may differ on a replica, each thing once.
    #[getter]
    fn reasons<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("reasons", || PyTuple::new(py, &self.reasons))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || Ok(self.shown()))
    }
}

/// The statements of a text, in source order.
#[pyclass(frozen, eq, hash, module = "afterquery")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Classification {
    statements: Vec<Statement>,
}

#[pymethods]
impl Classification {
    /// One entry for each statement of the text, in source order.
    #[getter]
    fn statements<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        entry("statements", || PyTuple::new(py, self.statements.iter().cloned()))
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || {
            let statements: Vec<_> = self.statements.iter().map(Statement::shown).collect();
            Ok(format!("Classification([{}])", statements.join(", ")))
        })
    }
}

/// What each statement of a text does.
#[pyfunction]
pub fn classify(sql: &str) -> PyResult<Classification> {
    entry("classify", || {
        let statements = sql::classify(sql).statements;
        Ok(Classification {
            statements: statements.iter().map(|statement| Statement::new(sql, statement)).collect(),
        })
    })
}

/// The statements of a text, without the `;` between them.
#[pyfunction]
pub fn split_statements(sql: &str) -> PyResult<Vec<&str>> {
    entry("split_statements", || {
        Ok(sql::classify(sql).statements.into_iter().map(|statement| &sql[statement.span]).collect())
    })
}

/// What in a statement may differ on a replica, each thing once, in source order.
pub fn reasons(statement: &sql::Statement) -> Vec<String> {
    let mut reasons = Vec::new();
    for reason in &statement.reasons {
        let text = reason.what.to_string();
        if !reasons.contains(&text) {
            reasons.push(text);
        }
    }
    reasons
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Ddl => "ddl",
        Kind::Txn => "txn",
        Kind::Other => "other",
        Kind::Unknown => "unknown",
    }
}
