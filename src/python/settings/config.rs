//! Settings as Python gives them.

use std::time::Duration;

use pyo3::{prelude::*, types::PyString};

use crate::{
    config::ReplicaConfig,
    ground::error::Error,
    journal::Pending,
    python::process::border::entry,
    wire::{Endpoint, Proxy},
};

/// A token as Python gives it. What is wrong with one is said without it: Python's own errors hold the text.
pub struct Token(pub String);

impl<'py> FromPyObject<'_, 'py> for Token {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let Ok(text) = given.cast::<PyString>() else {
            let type_name = given.get_type().name()?;
            let message = format!("auth_token must be a str, not {type_name}");
            return Err(pyo3::exceptions::PyTypeError::new_err(message));
        };
        let text = text.to_str().map_err(|_| Error::InvalidOption {
            option: "auth_token",
            value: "(hidden)".into(),
            problem: "it holds half of a surrogate pair".into(),
        })?;
        Ok(Self(text.to_owned()))
    }
}

/// One replica with settings of its own; what is left out is taken from the replicator.
#[pyclass(frozen, module = "afterquery")]
pub struct Replica {
    url: String,
    name: Option<String>,
    auth_token: Option<String>,
    tables: Option<Vec<String>>,
    max_lag_writes: Option<usize>,
    max_lag_bytes: Option<usize>,
    proxy: Option<Proxy>,
}

impl Replica {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.url.trim_end_matches('/'))
    }
}

#[pymethods]
impl Replica {
    #[new]
    #[pyo3(signature = (url, *, name=None, auth_token=None, tables=None, max_lag_writes=None, max_lag_bytes=None, proxy=None))]
    fn new(
        url: String,
        name: Option<String>,
        auth_token: Option<Token>,
        tables: Option<&Bound<'_, PyAny>>,
        max_lag_writes: Option<usize>,
        max_lag_bytes: Option<usize>,
        proxy: Option<&str>,
    ) -> PyResult<Self> {
        entry("new", || {
            let auth_token = auth_token.map(|Token(token)| token);
            Endpoint::new(&url, auth_token.as_deref())?;
            let tables = tables.map(table_names).transpose()?;
            let proxy = proxy.map(Proxy::new).transpose()?;
            Ok(Self { url, name, auth_token, tables, max_lag_writes, max_lag_bytes, proxy })
        })
    }

    /// Where the replica lives.
    #[getter]
    fn url(&self) -> &str {
        &self.url
    }

    /// What it is called in outcomes, statistics and the journal; its URL where no name was given.
    #[getter(name)]
    fn get_name(&self) -> PyResult<&str> {
        entry("name", || Ok(self.name()))
    }

    /// Its own allow-list; None where it gets what the replicator replicates.
    #[getter]
    fn tables<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, pyo3::types::PyTuple>>> {
        entry("tables", || {
            self.tables.as_ref().map(|tables| pyo3::types::PyTuple::new(py, tables)).transpose()
        })
    }

    fn __repr__(&self) -> PyResult<String> {
        entry("__repr__", || Ok(format!("Replica({:?}, name={:?})", self.url, self.name())))
    }
}

/// What a replicator gives to each of its replicas that says nothing else.
pub struct Defaults {
    pub auth_token: Option<String>,
    pub tables: Option<Vec<String>>,
    pub max_lag: Pending,
    pub proxy: Proxy,
}

/// The settings of one entry of `replicas=`: an address or a [`Replica`].
pub fn replica_config(entry: &Bound<'_, PyAny>, defaults: &Defaults) -> PyResult<ReplicaConfig> {
    if let Ok(url) = entry.cast::<PyString>() {
        let endpoint = Endpoint::new(url.to_str()?, defaults.auth_token.as_deref())?;
        let endpoint = endpoint.behind(defaults.proxy.clone());
        let name = endpoint.base.to_string();
        return Ok(ReplicaConfig {
            name,
            endpoint,
            tables: boxed(defaults.tables.as_ref()),
            max_lag: defaults.max_lag,
        });
    }
    let Ok(replica) = entry.cast::<Replica>() else {
        let type_name = entry.get_type().name()?;
        return Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "replicas must hold URLs (str) or Replica objects, not {type_name}"
        )));
    };
    let replica = replica.get();
    let token = replica.auth_token.as_deref().or(defaults.auth_token.as_deref());
    Ok(ReplicaConfig {
        name: replica.name().to_owned(),
        endpoint: Endpoint::new(&replica.url, token)?
            .behind(replica.proxy.as_ref().unwrap_or(&defaults.proxy).clone()),
        tables: both(defaults.tables.as_ref(), replica.tables.as_ref()),
        max_lag: Pending {
            writes: replica.max_lag_writes.unwrap_or(defaults.max_lag.writes),
            bytes: replica.max_lag_bytes.unwrap_or(defaults.max_lag.bytes),
        },
    })
}

/// The tables that both lists allow: a replica can narrow what the replicator replicates, not widen it.
fn both(all: Option<&Vec<String>>, own: Option<&Vec<String>>) -> Option<Vec<Box<str>>> {
    match (all, own) {
        (Some(all), Some(own)) => {
            let allowed = |name: &&String| all.iter().any(|other| other.eq_ignore_ascii_case(name));
            Some(own.iter().filter(allowed).map(|name| name.as_str().into()).collect())
        }
        (list, None) | (None, list) => boxed(list),
    }
}

fn boxed(tables: Option<&Vec<String>>) -> Option<Vec<Box<str>>> {
    tables.map(|tables| tables.iter().map(|name| name.as_str().into()).collect())
}

/// A list of table names. A lone string is a mistake: it would be taken letter by letter.
pub fn table_names(tables: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if tables.is_instance_of::<PyString>() {
        return Err(pyo3::exceptions::PyTypeError::new_err("tables must be a list of names, not one string"));
    }
    tables.try_iter()?.map(|name| name?.extract()).collect()
}

/// Seconds as Python gives them.
pub fn seconds(option: &'static str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|_| {
        let problem = "it is in seconds, 0 or more and finite".into();
        Error::InvalidOption { option, value: value.to_string(), problem }.into()
    })
}
