//! For what Python itself shows: the same form that the core's messages have.

use pyo3::prelude::*;

use super::border::beside;
use crate::{
    quoted::{MAX_LOG_BYTES, escaped as escape, one_line},
    sql::without_values as strip,
};

/// A text on one bounded line, with nothing in it that acts on a terminal.
#[pyfunction]
pub fn quoted(text: &str) -> PyResult<String> {
    beside("quoted", None, String::new, || Ok(one_line(text, MAX_LOG_BYTES)))
}

/// A text on its lines, with nothing in it that acts on a terminal.
#[pyfunction]
pub fn escaped(text: &str) -> PyResult<String> {
    beside("escaped", None, String::new, || Ok(escape(text)))
}

/// How much of a SQL text is shown, in bytes.
const SHOWN: usize = 120;

/// The beginning of a SQL text on one line, with `?` for each value in it.
#[pyfunction]
pub fn without_values(sql: &str) -> PyResult<String> {
    beside("without_values", None, String::new, || Ok(one_line(&strip(sql, SHOWN), SHOWN)))
}
