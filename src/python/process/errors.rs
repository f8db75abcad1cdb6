//! The core's errors as Python's classes, which are defined in Python.

use pyo3::{import_exception, prelude::*};

use crate::ground::error::Error;

import_exception!(afterquery._errors, ConfigurationError);
import_exception!(afterquery._errors, JournalError);
import_exception!(afterquery._errors, NotSettledError);
import_exception!(afterquery._errors, UnknownReplicaError);
import_exception!(afterquery._errors, AfterqueryError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::InvalidUrl { .. } | Error::InvalidOption { .. } => ConfigurationError::new_err(text),
            Error::UnknownReplica { .. } => UnknownReplicaError::new_err(text),
            Error::Journal { .. } => JournalError::new_err(text),
            Error::Start(_) => AfterqueryError::new_err(text),
        }
    }
}
