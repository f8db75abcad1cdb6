//! What `after_query` was given: Python's objects as the core reads them.

use std::sync::Arc;

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyString, PyTuple},
};

use super::{
    params::{PyParameters, PySet, row_count, type_name},
    values::told,
    zone::utc_offset_seconds,
};
use crate::{
    engine,
    python::process::{known::Known, live::Live},
    sql::{Plan, Skip},
    write::{Reason, ReasonCode, call::Call, render::ParameterSet},
};

/// The arguments of one call.
pub struct Given<'a, 'py> {
    pub sql: &'a Bound<'py, PyAny>,
    pub params: Option<&'a Bound<'py, PyAny>>,
    pub result: Option<&'a Bound<'py, PyAny>>,
    pub many: bool,
    pub rows: Option<&'a Bound<'py, PyAny>>,
    pub key: Option<&'a Bound<'py, PyAny>>,
}

impl Given<'_, '_> {
    /// Reads the call. `None` where there is nothing to replicate.
    pub fn read(&self, live: &Live) -> PyResult<Option<Call>> {
        let Some(plan) = self.plan(live)? else { return Ok(None) };
        live.engine.decide(self, &plan)
    }

    /// What is done with the text; counts what is left out. `None` where that is all of it.
    fn plan(&self, live: &Live) -> PyResult<Option<Arc<Plan>>> {
        let sql = text_of(self.sql)?;
        let plan = match live.texts.get(sql) {
            Some(Known::Skipped(skip)) => {
                live.engine.count_skip(skip, 1);
                return Ok(None);
            }
            Some(Known::Planned(plan)) => live.engine.count_skips(plan),
            None => {
                let Ok(text) = sql.to_str() else {
                    // Lone surrogates: SQLite cannot have run it.
                    live.engine.count_skip(Skip::Unparsed, 1);
                    return Ok(None);
                };
                let plan = live.engine.plan(text);
                live.texts.keep(sql, text, &plan);
                plan
            }
        };
        Ok((!plan.statements.is_empty()).then_some(plan))
    }
}

impl<'py> engine::Given for Given<'_, 'py> {
    type Set = PySet<'py>;
    type Row = PyRow<'py>;
    type Error = PyErr;

    fn sql(&self) -> PyResult<&str> {
        text_of(self.sql)?.to_str()
    }

    fn is_many(&self) -> bool {
        self.many
    }

    fn with_set<T>(&self, take: impl FnOnce(&dyn ParameterSet) -> T) -> T {
        take(&self.params.map_or(PyParameters::None, PyParameters::new))
    }

    fn sets(&self) -> Result<Vec<PySet<'py>>, Reason> {
        match self.params {
            Some(params) if self.many => {
                let sets = params.try_iter().and_then(|sets| sets.map(|set| set.map(PySet)).collect());
                sets.map_err(|error| {
                    let why = told(params.py(), error);
                    let message = format!("with many=True, params must be a list of parameter sets: {why}");
                    Reason::new(ReasonCode::Parameters, message)
                })
            }
            Some(params) => Ok(vec![PySet(params.clone())]),
            None => Ok(vec![PySet(self.sql.py().None().into_bound(self.sql.py()))]),
        }
    }

    fn is_read_once(&self) -> Option<bool> {
        // SAFETY: the pointer is a live object, and the GIL is held.
        self.params.map(|params| unsafe { pyo3::ffi::PyIter_Check(params.as_ptr()) == 1 })
    }

    fn changed(&self) -> Option<i64> {
        self.result.and_then(row_count)
    }

    fn has_rows(&self) -> bool {
        self.rows.is_some()
    }

    fn rows(&self) -> Option<Result<Vec<PyRow<'py>>, String>> {
        let read = |rows: &Bound<'py, PyAny>| -> PyResult<Vec<_>> {
            rows.try_iter()?.map(|row| row.map(PyRow)).collect()
        };
        self.rows.map(|rows| read(rows).map_err(not_read))
    }

    fn key(&self) -> Result<Vec<String>, String> {
        self.key.map_or(Ok(Vec::new()), names).map_err(not_read)
    }

    fn utc_offset_seconds(&self, unix_seconds: i64) -> Option<i32> {
        utc_offset_seconds(self.sql.py(), unix_seconds)
    }
}

/// A mapping from column to value: a dict or a `sqlite3.Row`.
pub struct PyRow<'py>(Bound<'py, PyAny>);

impl<'py> engine::Row for PyRow<'py> {
    type Set = PySet<'py>;

    fn columns(&self) -> Result<Vec<String>, String> {
        let names = || -> PyResult<Vec<String>> {
            self.0
                .call_method0(intern!(self.0.py(), "keys"))?
                .try_iter()?
                .map(|name| name?.extract())
                .collect()
        };
        names().map_err(not_read)
    }

    fn values(&self, columns: &[&str]) -> Result<PySet<'py>, String> {
        let values: PyResult<Vec<_>> = columns.iter().map(|name| self.0.get_item(*name)).collect();
        let tuple = values.and_then(|values| PyTuple::new(self.0.py(), values));
        tuple.map(|tuple| PySet(tuple.into_any())).map_err(not_read)
    }
}

fn not_read(error: PyErr) -> String {
    format!("rows= cannot be read: {error}")
}

/// One name, or several.
fn names(key: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if let Ok(name) = key.cast::<PyString>() {
        return Ok(vec![name.to_str()?.to_owned()]);
    }
    key.try_iter()?.map(|name| name?.extract()).collect()
}

/// The SQL text. Anything but a str is a wrong use of the API.
pub fn text_of<'a, 'py>(sql: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyString>> {
    let text = sql.cast::<PyString>();
    text.map_err(|_| PyTypeError::new_err(format!("sql must be a str, not {}", type_name(sql))))
}
