//! Parameters as Python's `sqlite3` reads them: a sequence by position, a mapping by name, each value through
//! `sqlite3`'s own adapters where it is not of a basic type.

use pyo3::{
    exceptions::{PyIndexError, PyKeyError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{
        PyBool, PyByteArray, PyBytes, PyDate, PyDateTime, PyFloat, PyInt, PyList, PyMapping, PyNone,
        PyString, PyTuple,
    },
};

use crate::{
    render::ParameterSet,
    sql::{Hole, Parameters, Value},
};

/// The parameters of one execution.
pub enum PyParameters<'a, 'py> {
    None,
    Tuple(&'a Bound<'py, PyTuple>),
    List(&'a Bound<'py, PyList>),
    Sequence(&'a Bound<'py, PyAny>),
    Mapping(&'a Bound<'py, PyAny>),
    Unusable(String),
}

impl<'a, 'py> PyParameters<'a, 'py> {
    /// Sees what kind of parameters `params` is, in the order in which `sqlite3` does.
    pub fn new(params: &'a Bound<'py, PyAny>) -> Self {
        if let Ok(tuple) = params.cast_exact::<PyTuple>() {
            Self::Tuple(tuple)
        } else if params.is_none() {
            Self::None
        } else if let Ok(list) = params.cast_exact::<PyList>() {
            Self::List(list)
        } else if params.cast::<PyMapping>().is_ok() {
            Self::Mapping(params)
        } else if is_sequence(params) {
            Self::Sequence(params)
        } else {
            Self::Unusable(format!("params must be a sequence or a mapping, not {}", type_name(params)))
        }
    }

    /// The value of parameter number `index` (from 0), or of the one called `name`.
    pub fn get(&self, index: u32, name: Option<&str>) -> Result<Bound<'py, PyAny>, String> {
        let (found, py) = match self {
            Self::None => return Err("it is not given".into()),
            Self::Tuple(tuple) => (tuple.get_item(index as usize), tuple.py()),
            Self::List(list) => (list.get_item(index as usize), list.py()),
            Self::Sequence(sequence) => (sequence.get_item(index), sequence.py()),
            Self::Mapping(mapping) => match name {
                Some(name) => (mapping.get_item(name), mapping.py()),
                None => return Err("it has no name, but the parameters are a mapping".into()),
            },
            Self::Unusable(why) => return Err(why.clone()),
        };
        found.map_err(|error| {
            let missing = error.is_instance_of::<PyKeyError>(py) || error.is_instance_of::<PyIndexError>(py);
            if missing { "it is not given".into() } else { format!("it cannot be read: {error}") }
        })
    }
}

/// Whether `sqlite3` would read `params` by position: whatever has items by number, a str included.
fn is_sequence(params: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the pointer is a live object, and the GIL is held. PyO3's own check is narrower: it asks for
    // `collections.abc.Sequence`.
    unsafe { pyo3::ffi::PySequence_Check(params.as_ptr()) == 1 }
}

impl ParameterSet for PyParameters<'_, '_> {
    fn count(&self) -> Option<usize> {
        match self {
            Self::None => Some(0),
            Self::Tuple(tuple) => Some(tuple.len()),
            Self::List(list) => Some(list.len()),
            Self::Sequence(sequence) => sequence.len().ok(),
            Self::Mapping(_) | Self::Unusable(_) => None,
        }
    }

    fn statement(&self, first: u32, render: &mut dyn FnMut(&dyn Parameters)) {
        render(&StatementParameters { set: self, first });
    }
}

struct StatementParameters<'s, 'a, 'py> {
    set: &'s PyParameters<'a, 'py>,
    first: u32,
}

impl Parameters for StatementParameters<'_, '_, '_> {
    fn bind(&self, hole: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
        let value = self.set.get(self.first + hole.index - 1, hole.name.as_deref());
        let value = value.map_err(|why| format!("{}: {why}", show(hole, self.first)))?;
        bind_exact(&value, take).unwrap_or_else(|| bind_adapted(&value, take)).map_err(|why| {
            format!("{} ({}) cannot be sent: {why}", show(hole, self.first), type_name(&value))
        })
    }
}

fn show(hole: &Hole, first: u32) -> String {
    match &hole.name {
        Some(name) => format!("parameter :{name}"),
        None => format!("parameter {}", first + hole.index),
    }
}

pub fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string())
}

/// A value of exactly a basic type, which `sqlite3` binds without an adapter. `None` for any other.
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

/// A value of another type, as `sqlite3` treats it: an adapter if there is one, then what it derives from.
fn bind_adapted(value: &Bound<'_, PyAny>, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
    let adapted = adapt(value).map_err(|error| error.to_string())?;
    if let Some(bound) = bind_exact(&adapted, take) {
        return bound;
    }
    if let Ok(int) = adapted.cast::<PyInt>() {
        return bind_int(int, take);
    }
    if let Ok(float) = adapted.cast::<PyFloat>() {
        take(Value::Real(float.value()));
        return Ok(());
    }
    if let Ok(text) = adapted.cast::<PyString>() {
        return bind_text(text, take);
    }
    if let Ok(bytes) = adapted.cast::<PyByteArray>() {
        take(Value::Blob(&bytes.to_vec()));
        return Ok(());
    }
    let py = adapted.py();
    // Whatever offers a buffer is a blob. abi3 of 3.10 has no buffer API, so Python reads it.
    let bytes = py
        .get_type::<pyo3::types::PyMemoryView>()
        .call1((&adapted,))
        .and_then(|view| view.call_method0("tobytes"));
    match bytes.as_ref().map(|bytes| bytes.cast::<PyBytes>()) {
        Ok(Ok(bytes)) => take(Value::Blob(bytes.as_bytes())),
        _ => return Err("SQLite has no such type, and sqlite3 has no adapter for it".into()),
    }
    Ok(())
}

/// What `sqlite3` would store in place of `value`.
fn adapt<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static SQLITE3: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let py = value.py();
    let sqlite3 = SQLITE3.get_or_try_init(py, || py.import("sqlite3").map(Bound::unbind))?.bind(py);
    let protocol = sqlite3.getattr(intern!(py, "PrepareProtocol"))?;
    let adapters = sqlite3.getattr(intern!(py, "adapters"))?;
    let key = (value.get_type(), &protocol);
    let adapter = adapters.call_method1(intern!(py, "get"), (key,))?;
    // The adapters that sqlite3 brings for dates are deprecated: calling one warns, a second time for the user.
    let is_default = !adapter.is_none() && {
        let module = adapter.getattr_opt(intern!(py, "__module__"))?;
        module.is_some_and(|module| module.eq("sqlite3.dbapi2").unwrap_or(false))
    };
    if is_default && value.is_instance_of::<PyDateTime>() {
        return value.call_method1(intern!(py, "isoformat"), (" ",));
    }
    if is_default && value.is_instance_of::<PyDate>() {
        return value.call_method0(intern!(py, "isoformat"));
    }
    let adapted = sqlite3.call_method1(intern!(py, "adapt"), (value, protocol, PyNone::get(py)))?;
    Ok(if adapted.is_none() { value.clone() } else { adapted })
}

/// The row count that `result` tells of: an int, or what has a `rowcount`. Negative means unknown.
pub fn row_count(result: &Bound<'_, PyAny>) -> Option<i64> {
    let count = if result.is_none()
        || result.is_exact_instance_of::<PyList>()
        || result.is_exact_instance_of::<PyTuple>()
    {
        return None;
    } else if result.is_exact_instance_of::<PyInt>() {
        result.extract::<i64>().ok()
    } else {
        // Any error in a foreign attribute only means that there is nothing to compare.
        let attribute = result.getattr_opt(intern!(result.py(), "rowcount")).ok().flatten();
        attribute.filter(|value| value.is_exact_instance_of::<PyInt>()).and_then(|value| value.extract().ok())
    };
    count.filter(|count| *count >= 0)
}
