//! Freezing statements, finding those that may still differ, and replicating rows in their place.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use pyo3::{intern, prelude::*, types::PyString};

use super::{params::PyParameters, values::bound_text};
use crate::sql::{
    Classification, FreezeContext, Placeholder, RowStatement, classify, freeze, rows_statement,
};

/// What the caller's connection did before, where the caller tells.
#[derive(Default, Clone, Copy)]
pub struct Before {
    pub last_insert_rowid: Option<i64>,
    pub changes: Option<i64>,
    pub total_changes: Option<i64>,
}

/// `sql` with what would differ on a replica frozen; None where it can run as it is.
pub fn frozen(py: Python<'_>, sql: &str, params: &PyParameters<'_, '_>, before: Before) -> Option<String> {
    let classification = classify(sql);
    let texts = texts(&classification, sql, params);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let mut context = Context { py, now, before };
    freeze(sql, &classification, |index, hole| texts.get(index, hole), &mut context).sql
}

/// Why `sql` may do something else on a replica with these parameters; None where it does not.
pub fn differs(py: Python<'_>, sql: &str, params: &PyParameters<'_, '_>) -> Option<String> {
    let classification = classify(sql);
    let texts = texts(&classification, sql, params);
    let mut context = Context { py, now: 0, before: Before::default() };
    let frozen = freeze(sql, &classification, |index, hole| texts.get(index, hole), &mut context);
    let unfrozen = frozen.unfrozen.iter().map(|(_, reason)| reason.what);
    // What could have been frozen was not: `before_query` was not used.
    let freezable =
        classification.statements.iter().flat_map(|statement| &statement.reasons).map(|reason| reason.what);
    let mut reasons: Vec<_> =
        unfrozen.chain(freezable.filter(|_| frozen.sql.is_some())).map(|what| what.as_str()).collect();
    reasons.dedup();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// The texts bound to the placeholders of statements that have reasons, by statement and parameter.
struct Texts(HashMap<(usize, u32), String>);

impl Texts {
    fn get(&self, statement: usize, hole: &Placeholder) -> Option<&str> {
        self.0.get(&(statement, hole.index)).map(String::as_str)
    }
}

fn texts(classification: &Classification, sql: &str, params: &PyParameters<'_, '_>) -> Texts {
    let mut texts = HashMap::new();
    let mut first = 0;
    for (index, statement) in classification.statements.iter().enumerate() {
        for hole in statement.placeholders.iter().filter(|_| !statement.reasons.is_empty()) {
            let name = hole.named.then(|| &sql[hole.span.start + 1..hole.span.end]);
            if let Some(text) =
                params.get(first + hole.index - 1, name).ok().and_then(|value| bound_text(&value))
            {
                texts.insert((index, hole.index), text);
            }
        }
        first += statement.placeholders.iter().map(|hole| hole.index).max().unwrap_or(0);
    }
    Texts(texts)
}

struct Context<'py> {
    py: Python<'py>,
    now: i64,
    before: Before,
}

impl FreezeContext for Context<'_> {
    fn unix_milliseconds(&self) -> i64 {
        self.now
    }

    fn utc_offset_seconds(&self, unix_seconds: i64) -> Option<i32> {
        // Python's own, so that a program that sets the time zone gets the one SQLite uses: both ask the C library.
        let time = self.py.import(intern!(self.py, "time")).ok()?;
        let local = time.call_method1(intern!(self.py, "localtime"), (unix_seconds,)).ok()?;
        local.getattr(intern!(self.py, "tm_gmtoff")).ok()?.extract().ok()
    }

    fn random(&mut self) -> u64 {
        // From the system: an application may use `random()` where it must not be guessed.
        getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
    }

    fn last_insert_rowid(&self) -> Option<i64> {
        self.before.last_insert_rowid
    }

    fn changes(&self) -> Option<i64> {
        self.before.changes
    }

    fn total_changes(&self) -> Option<i64> {
        self.before.total_changes
    }
}

/// Rows that stand for the statement that changed them.
pub struct Rows<'py> {
    /// The statement for one row.
    pub statement: RowStatement,
    /// The values of each row, in the order of the statement's placeholders.
    pub values: Vec<Bound<'py, PyAny>>,
}

/// Reads `rows`, each a mapping from column to value (a dict or a `sqlite3.Row`), for the statement in `sql`.
pub fn read_rows<'py>(
    sql: &str,
    rows: &Bound<'py, PyAny>,
    key: Option<&Bound<'py, PyAny>>,
) -> Result<Option<Rows<'py>>, String> {
    let told = |error: PyErr| format!("rows= cannot be read: {error}");
    let rows: Vec<_> = rows.try_iter().and_then(Iterator::collect).map_err(told)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let columns = column_names(first).map_err(told)?;
    let key = key.map_or(Ok(Vec::new()), names).map_err(told)?;
    let classification = classify(sql);
    let [statement] = classification.statements.as_slice() else {
        return Err(crate::sql::RowError::NotOneWrite.to_string());
    };
    let statement = rows_statement(sql, statement, &columns, &key).map_err(|error| error.to_string())?;
    let chosen: Vec<_> = statement.values.iter().map(|&at| columns[at].as_str()).collect();
    let values = rows.iter().map(|row| {
        let same = column_names(row).is_ok_and(|names| names == columns);
        if !same {
            return Err("rows= must all have the same columns, in the same order".to_owned());
        }
        let values: PyResult<Vec<_>> = chosen.iter().map(|name| row.get_item(*name)).collect();
        let tuple = values.and_then(|values| pyo3::types::PyTuple::new(row.py(), values));
        tuple.map(Bound::into_any).map_err(told)
    });
    Ok(Some(Rows { values: values.collect::<Result<_, _>>()?, statement }))
}

fn column_names(row: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    row.call_method0(intern!(row.py(), "keys"))?.try_iter()?.map(|name| name?.extract()).collect()
}

/// One name, or several.
fn names(key: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if let Ok(name) = key.cast::<PyString>() {
        return Ok(vec![name.to_str()?.to_owned()]);
    }
    key.try_iter()?.map(|name| name?.extract()).collect()
}
