//! The beginning: this process's journal, and those it finds.

use std::{path::PathBuf, sync::Mutex};

use super::Directory;
use crate::{
    ground::{error::Error, fork},
    journal::{
        adopted::{Adopted, MAX_ADOPTED},
        file::{
            files::sync_names,
            private,
            settings::{Durability, JournalConfig},
        },
        journal::Journal,
        memory::{cursor::Cursor, limits::Limits},
        source::Source,
    },
};

/// What was opened.
pub struct Opened {
    /// Where this process's writes go.
    pub own: Source,
    /// What dead processes left.
    pub adopted: Adopted,
    /// Where further ones are found.
    pub directory: Option<Directory>,
}

/// Opens this process's journal, and those of processes that are dead; in memory where there are no settings.
pub fn open(settings: Option<&JournalConfig>, limits: Limits, names: &[String]) -> Result<Opened, Error> {
    let Some(settings) = settings else {
        let origin = uuid::Uuid::new_v4().to_string();
        let no_cursors = names.iter().map(|_| Cursor::default()).collect();
        let own = Source::new(origin, Journal::in_memory(limits), no_cursors);
        return Ok(Opened { own, adopted: Adopted::default(), directory: None });
    };
    let _inside = fork::enter();
    let own_origin = settings.origin.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let directory = Directory {
        names: names.into(),
        path: create(settings)?,
        own: own_origin,
        settings: settings.clone(),
        limits,
        seen: Mutex::default(),
        held_up: Mutex::default(),
    };
    let mut adopted = directory.adopt(MAX_ADOPTED)?;
    let newest = adopted.sources.iter().map(|source| source.created).fold(0.0, f64::max);
    let own = directory.own(&mut adopted, newest)?;
    if let Some(to) = own.journal.disk() {
        adopted.move_letters(to);
    }
    Ok(Opened { own, adopted, directory: Some(directory) })
}

/// Makes the directory, and its path the one by which every user of it knows it.
fn create(settings: &JournalConfig) -> Result<PathBuf, Error> {
    let path = &settings.path;
    let failed = |problem: String| Error::Journal { path: path.display().to_string(), problem };
    if path.exists() && !path.is_dir() {
        return Err(failed("it is a file; give the path of a directory".into()));
    }
    let made = private::create_directory(path).and_then(|()| path.canonicalize());
    let made = made.map_err(|error| failed(error.to_string()))?;
    if settings.durability == Durability::Disk {
        sync_names(&made).map_err(|error| failed(error.to_string()))?;
    }
    Ok(made)
}
