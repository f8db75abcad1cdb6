//! Where writes are kept, and what depends on that.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::{
    ground::error::Error,
    journal::{Durability, JournalConfig, Pending},
};

pub fn not_one_of(option: &'static str, value: &str, choices: &str) -> PyErr {
    Error::InvalidOption { option, value: format!("{value:?}"), problem: format!("it is {choices}") }.into()
}

/// The limits that depend on where writes are kept.
pub struct DefaultLimits {
    pub max_lag: Pending,
    pub max_dead_letters: usize,
}

impl DefaultLimits {
    pub fn of(on_disk: bool) -> Self {
        if on_disk {
            // What bounds a journal on disk is `max_journal_bytes`.
            let max_lag = Pending { writes: usize::MAX, bytes: usize::MAX };
            return Self { max_lag, max_dead_letters: 1_000_000 };
        }
        Self { max_lag: Pending { writes: 1_000_000, bytes: 268_435_456 }, max_dead_letters: 1_000 }
    }
}

pub fn journal_config(
    path: Option<PathBuf>,
    durability: &str,
    max_bytes: usize,
    origin: Option<String>,
) -> PyResult<Option<JournalConfig>> {
    let durability = match durability {
        "async" => Durability::Async,
        "process" => Durability::Process,
        "disk" => Durability::Disk,
        other => return Err(not_one_of("durability", other, "\"async\", \"process\" or \"disk\"")),
    };
    let needs_journal = |option, value: String| {
        Err(Error::InvalidOption { option, value, problem: "it needs journal=".into() }.into())
    };
    match (path, origin) {
        (Some(path), origin) => {
            // Now: a child of this process may have changed its directory, and must find the same one.
            let path = std::path::absolute(&path).map_err(|error| Error::Journal {
                path: path.display().to_string(),
                problem: error.to_string(),
            })?;
            Ok(Some(JournalConfig { path, durability, max_bytes, origin }))
        }
        (None, Some(origin)) => needs_journal("origin", format!("{origin:?}")),
        (None, None) if durability != Durability::Async => {
            needs_journal("durability", format!("{:?}", durability).to_ascii_lowercase())
        }
        (None, None) => Ok(None),
    }
}
