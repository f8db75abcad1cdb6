//! Parameters as Python's `sqlite3` reads them: a sequence by position, a mapping by name, each value as
//! [`super::values`] reads it.

use pyo3::{
    exceptions::{PyIndexError, PyKeyError},
    intern,
    prelude::*,
    types::{PyInt, PyList, PyMapping, PyTuple},
};

use super::values::{Binder, bound_text, told};
use crate::{
    sql::{BoundTexts, Hole, Parameters, Value},
    write::render::ParameterSet,
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

    /// A token that the GIL is held, where there are values.
    fn py(&self) -> Option<Python<'py>> {
        match self {
            Self::None | Self::Unusable(_) => None,
            Self::Tuple(tuple) => Some(tuple.py()),
            Self::List(list) => Some(list.py()),
            Self::Sequence(any) | Self::Mapping(any) => Some(any.py()),
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
                // `?1` is called "1" there; a plain `?` has no name.
                None => (mapping.get_item((index + 1).to_string()), mapping.py()),
            },
            Self::Unusable(why) => return Err(why.clone()),
        };
        found.map_err(|error| {
            let missing = error.is_instance_of::<PyKeyError>(py) || error.is_instance_of::<PyIndexError>(py);
            match (missing, self, name) {
                (true, Self::Mapping(_), None) => {
                    "it is not given: it has no name, and params is a mapping".into()
                }
                (true, ..) => "it is not given".into(),
                (false, ..) => format!("it cannot be read: {}", told(py, error)),
            }
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
        let binder = self.py().map(Binder::new);
        render(&StatementParameters { set: self, first, binder });
    }
}

impl BoundTexts for PyParameters<'_, '_> {
    fn text(&self, index: u32, name: Option<&str>) -> Option<String> {
        self.get(index, name).ok().and_then(|value| bound_text(&value))
    }
}

/// The parameters of one execution, kept.
pub struct PySet<'py>(pub Bound<'py, PyAny>);

impl ParameterSet for PySet<'_> {
    fn count(&self) -> Option<usize> {
        PyParameters::new(&self.0).count()
    }

    fn statement(&self, first: u32, render: &mut dyn FnMut(&dyn Parameters)) {
        PyParameters::new(&self.0).statement(first, render);
    }
}

impl BoundTexts for PySet<'_> {
    fn text(&self, index: u32, name: Option<&str>) -> Option<String> {
        PyParameters::new(&self.0).text(index, name)
    }
}

struct StatementParameters<'s, 'a, 'py> {
    set: &'s PyParameters<'a, 'py>,
    first: u32,
    binder: Option<Binder>,
}

impl Parameters for StatementParameters<'_, '_, '_> {
    fn bind(&self, hole: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
        let value = self.set.get(self.first + hole.index - 1, hole.name.as_deref());
        let value = value.map_err(|why| format!("{}: {why}", show(hole, self.first)))?;
        let binder = self.binder.unwrap_or_else(|| Binder::new(value.py()));
        binder.bind(&value, take).map_err(|why| {
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
