//! Rejected writes, as Python sees and names them.

use std::time::UNIX_EPOCH;

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyTuple};

use crate::{
    journal::{self, LetterKey},
    python::process::border::entry,
    write::{Body, SentStatement},
};

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

/// What names dead letters.
pub fn letter_keys(letters: &Bound<'_, PyAny>) -> PyResult<Vec<LetterKey>> {
    let wrong = |what: &Bound<'_, PyAny>| {
        let found = crate::python::given::params::type_name(what);
        PyTypeError::new_err(format!("letters must be DeadLetter objects from dead_letters(), not {found}"))
    };
    let key = |letter: Bound<'_, PyAny>| {
        Ok(letter.cast::<DeadLetter>().map_err(|_| wrong(&letter))?.get().key.clone())
    };
    if letters.is_instance_of::<DeadLetter>() {
        return Ok(vec![key(letters.clone())?]);
    }
    letters.try_iter().map_err(|_| wrong(letters))?.map(|letter| key(letter?)).collect()
}
