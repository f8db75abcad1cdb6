//! One value as Python's `sqlite3` binds it: `bind_param` and `need_adapt` of
//! <https://github.com/python/cpython/blob/3.13/Modules/_sqlite/cursor.c>, `pysqlite_microprotocols_adapt` beside it.
//!
//! First an adapter may make another value of it, whatever type it has; what comes out is bound by its type, the exact types
//! first, then what derives from them, then whatever offers a buffer.

use std::{cell::Cell, sync::Mutex};

use pyo3::{
    exceptions::PyException,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{
        PyBool, PyByteArray, PyBytes, PyDate, PyDateTime, PyDict, PyFloat, PyInt, PyMemoryView, PyString,
    },
};

use crate::sql::Value;

/// How values are bound, as the adapters are at this moment.
#[derive(Clone, Copy)]
pub struct Binder {
    /// Whether a type has an adapter that has none at first.
    basic_adapted: bool,
}

impl Binder {
    /// One for the values of one execution.
    pub fn new(py: Python<'_>) -> Self {
        // Without a module sqlite3 there are no adapters.
        Self { basic_adapted: basic_types_are_adapted(py).unwrap_or(false) }
    }

    /// Gives `take` what SQLite stores for `value`, or says in words why it cannot be said.
    pub fn bind(self, value: &Bound<'_, PyAny>, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
        if !self.basic_adapted
            && let Some(bound) = bind_exact(value, take)
        {
            return bound;
        }
        bind_adapted(&adapt(value).map_err(|error| told(value.py(), error))?, take)
    }
}

thread_local! {
    /// What code of the user's raised while it was asked for a value, if it is none of an error.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// An error of the user's code as a reason. Ctrl-C, or a `SystemExit` of a signal handler's, is no reason: it is kept, and
/// raised when the write is handed over.
pub fn told(py: Python<'_>, error: PyErr) -> String {
    let text = error.to_string();
    if !error.is_instance_of::<PyException>(py) {
        RAISED.set(Some(error));
    }
    text
}

/// Raises what was kept.
pub fn raise_kept() -> PyResult<()> {
    RAISED.take().map_or(Ok(()), Err)
}

/// What is bound as text: a text, or bytes that are one.
pub fn bound_text(value: &Bound<'_, PyAny>) -> Option<String> {
    let mut found = None;
    let bound = Binder::new(value.py()).bind(value, &mut |value| {
        found = match value {
            Value::Text(text) => Some(text.to_owned()),
            Value::Blob(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Value::Null | Value::Integer(_) | Value::Real(_) => None,
        }
    });
    bound.ok().and(found)
}

/// A value of exactly a basic type. `None` for any other.
#[inline]
fn bind_exact(value: &Bound<'_, PyAny>, take: &mut dyn FnMut(Value<'_>)) -> Option<Result<(), String>> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        return Some(bind_text(text, take));
    }
    if let Ok(int) = value.cast_exact::<PyInt>() {
        return Some(bind_int(int, take));
    }
    if let Ok(float) = value.cast_exact::<PyFloat>() {
        take(Value::Real(float.value()));
    } else if value.is_none() {
        take(Value::Null);
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        take(Value::Blob(bytes.as_bytes()));
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        take(Value::Integer(flag.is_true().into()));
    } else {
        return None;
    }
    Some(Ok(()))
}

fn bind_text(text: &Bound<'_, PyString>, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
    // Fails for lone surrogates, which no UTF-8 can say; sqlite3 refuses them too.
    take(Value::Text(text.to_str().map_err(|error| error.to_string())?));
    Ok(())
}

fn bind_int(int: &Bound<'_, PyInt>, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
    take(Value::Integer(int.extract().map_err(|_| "SQLite's integers have 64 bits")?));
    Ok(())
}

/// A value that no adapter is asked for any more. What a class does in methods of its own does not matter: SQLite gets what
/// is in the object.
fn bind_adapted(value: &Bound<'_, PyAny>, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
    if let Some(bound) = bind_exact(value, take) {
        return bound;
    }
    if let Ok(int) = value.cast::<PyInt>() {
        return bind_int(int, take);
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        take(Value::Real(float.value()));
        return Ok(());
    }
    if let Ok(text) = value.cast::<PyString>() {
        return bind_text(text, take);
    }
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        take(Value::Blob(&bytes.to_vec()));
        return Ok(());
    }
    // Whatever offers a buffer is a blob. abi3 of 3.10 has no buffer API, so Python reads it.
    let py = value.py();
    let bytes = py
        .get_type::<PyMemoryView>()
        .call1((value,))
        .and_then(|view| view.call_method0(intern!(py, "tobytes")));
    match bytes.as_ref().map(|bytes| bytes.cast::<PyBytes>()) {
        Ok(Ok(bytes)) => take(Value::Blob(bytes.as_bytes())),
        _ => return Err("SQLite has no such type, and sqlite3 has no adapter for it".into()),
    }
    Ok(())
}

/// What `sqlite3` stores in place of `value`.
fn adapt<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    let Sqlite3 { module, protocol, adapters } = Sqlite3::get(py)?;
    let adapter = adapters.bind(py).get_item((value.get_type(), protocol))?;
    // The adapters that sqlite3 brings for dates are deprecated: calling one warns, a second time for the user.
    let is_default = adapter.is_some_and(|adapter| {
        let module = adapter.getattr_opt(intern!(py, "__module__"));
        matches!(module, Ok(Some(module)) if module.eq("sqlite3.dbapi2").unwrap_or(false))
    });
    if is_default && value.is_instance_of::<PyDateTime>() {
        return value.call_method1(intern!(py, "isoformat"), (" ",));
    }
    if is_default && value.is_instance_of::<PyDate>() {
        return value.call_method0(intern!(py, "isoformat"));
    }
    module.bind(py).call_method1(intern!(py, "adapt"), (value, protocol, value))
}

/// The keys of `sqlite3.adapters` as they were seen last, and whether one is of a basic type. The keys are kept, so that no
/// other object can have their address.
struct Seen {
    keys: Vec<Py<PyAny>>,
    basic: bool,
}

static SEEN: Mutex<Option<Seen>> = Mutex::new(None);

/// Whether an adapter is registered for a type that has none at first. Adapters come and go at any time, so this looks at
/// the keys there are: mostly two, those for dates.
fn basic_types_are_adapted(py: Python<'_>) -> PyResult<bool> {
    let adapters = Sqlite3::get(py)?.adapters.bind(py);
    // Held for a few comparisons only, with the GIL; after a fork in between it may be lost, and is not needed.
    let Ok(mut seen) = SEEN.try_lock() else { return look_at(adapters).map(|seen| seen.basic) };
    if let Some(seen) = &*seen
        && seen.keys.len() == adapters.len()
        && adapters.iter().zip(&seen.keys).all(|((key, _), seen)| key.is(seen))
    {
        return Ok(seen.basic);
    }
    let new = look_at(adapters)?;
    let basic = new.basic;
    let old = seen.replace(new);
    drop(seen);
    // Freeing a type may run other code; not under the lock.
    drop(old);
    Ok(basic)
}

fn look_at(adapters: &Bound<'_, PyDict>) -> PyResult<Seen> {
    let py = adapters.py();
    let basic: [Bound<'_, PyAny>; 6] = [
        py.get_type::<PyString>().into_any(),
        py.get_type::<PyInt>().into_any(),
        py.get_type::<PyFloat>().into_any(),
        py.get_type::<PyBytes>().into_any(),
        py.get_type::<PyBool>().into_any(),
        py.None().bind(py).get_type().into_any(),
    ];
    let mut found = Seen { keys: Vec::with_capacity(adapters.len()), basic: false };
    for (key, _) in adapters {
        let kind = key.get_item(0)?;
        found.basic |= basic.iter().any(|basic| basic.is(&kind));
        found.keys.push(key.unbind());
    }
    Ok(found)
}

/// Imports `sqlite3` now. By the first write there may be threads: a process that one of them forks while another imports
/// waits for that import for ever. Without the module there are no adapters either, and what needs one says so.
pub fn prepare(py: Python<'_>) {
    let _ = Sqlite3::get(py);
}

/// What is needed of the module `sqlite3`.
struct Sqlite3 {
    module: Py<PyModule>,
    protocol: Py<PyAny>,
    adapters: Py<PyDict>,
}

impl Sqlite3 {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        static FOUND: PyOnceLock<Sqlite3> = PyOnceLock::new();
        FOUND.get_or_try_init(py, || {
            let module = py.import("sqlite3")?;
            let protocol = module.getattr("PrepareProtocol")?.unbind();
            let adapters = module.getattr("adapters")?.cast_into::<PyDict>()?.unbind();
            Ok(Self { module: module.unbind(), protocol, adapters })
        })
    }
}
