//! For what Python itself shows: the same form that the core's messages have.

use pyo3::prelude::*;

use crate::{
    ground::quoted::{MAX_LOG_BYTES, escaped as escape, one_line},
    python::process::border::entry,
    sql::shown,
};

/// A text on one bounded line, with nothing in it that acts on a terminal.
#[pyfunction]
pub fn quoted(text: &str) -> PyResult<String> {
    entry("quoted", || Ok(one_line(text, MAX_LOG_BYTES)))
}

/// A text on its lines, with nothing in it that acts on a terminal.
#[pyfunction]
pub fn escaped(text: &str) -> PyResult<String> {
    entry("escaped", || Ok(escape(text)))
}

/// The beginning of a SQL text on one line, with `?` for each value in it.
#[pyfunction]
pub fn without_values(sql: &str) -> PyResult<String> {
    entry("without_values", || Ok(shown(sql)))
}
