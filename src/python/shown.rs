//! For what Python itself shows: the same form that the core's messages have.

use pyo3::prelude::*;

use crate::{
    quoted::{MAX_LOG_BYTES, escaped as escape, one_line},
    sql::without_values as strip,
};

/// A text on one bounded line, with nothing in it that acts on a terminal.
#[pyfunction]
pub fn quoted(text: &str) -> String {
    one_line(text, MAX_LOG_BYTES)
}

/// A text on its lines, with nothing in it that acts on a terminal.
#[pyfunction]
pub fn escaped(text: &str) -> String {
    escape(text)
}

/// The beginning of a SQL text on one line, with `?` for each value in it.
#[pyfunction]
pub fn without_values(sql: &str) -> String {
    const SHOWN: usize = 120;
    one_line(&strip(sql, SHOWN), SHOWN)
}
