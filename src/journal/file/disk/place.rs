//! Whether a journal's file and its lock are still where everybody looks for them.
//!
//! What is written to a file that was removed is as good as not written: no next process finds it.

use std::{
    fs::File,
    io,
    path::Path,
    time::{Duration, Instant},
};

use super::{Access, Disk, MOMENT};
use crate::journal::file::{
    error::StoreError,
    files::{identity, remove_files, sync_names},
    lock::Lock,
    private,
    settings::Durability,
    store::Store,
};

/// How often it is looked. A look costs some microseconds.
const LOOK: Duration = Duration::from_secs(1);

impl Disk {
    /// Looks now whether the file is still there. Whether it is.
    pub fn is_in_place(&self) -> bool {
        let mut access = self.store();
        access.file.seen = Instant::now() - LOOK;
        access.look();
        self.failure().gone.is_none()
    }

    /// Looks if that is due.
    pub fn look(&self) {
        self.store().look();
    }
}

impl Access<'_> {
    /// Notices that the file, or its lock, was removed, and puts it there again.
    pub(super) fn look(&mut self) {
        if self.file.lock.is_none() || self.file.seen.elapsed() < LOOK {
            return;
        }
        self.file.seen = Instant::now();
        let path = self.disk.path.clone();
        let missing = identity(&path) != self.file.identity;
        let lost = self.file.lock.as_ref().is_some_and(|lock| !lock.is_there());
        if !missing && !lost {
            return;
        }
        let what = if missing {
            "was removed while it was in use"
        } else {
            "lost its lock file while it was in use"
        };
        let mended = self.mend(&path, missing);
        let mut failure = self.disk.failure();
        match mended {
            Ok(()) => {
                failure.gone = None;
                failure.told.push(format!("the journal {} {what}; it was made again", path.display()));
            }
            Err(why) => {
                let problem =
                    format!("the journal {} {what}, and cannot be made again: {why}", path.display());
                if failure.gone.is_none() {
                    failure.told.push(format!("{problem}; what this process accepts is lost if it ends"));
                }
                failure.gone = Some(problem.into());
            }
        }
    }

    /// Takes the lock again, and puts what the open file holds where it belongs.
    fn mend(&mut self, path: &Path, missing: bool) -> Result<(), StoreError> {
        let other = || StoreError::Damaged("another process has taken it over".into());
        let is_synced = self.disk.durability == Durability::Disk;
        if let Some(directory) = path.parent() {
            private::create_directory(directory)?;
        }
        let lock = self.file.lock.as_mut();
        if !lock.map_or(Ok(true), Lock::take_again)? {
            return Err(other());
        }
        if !missing {
            return Ok(());
        }
        if identity(path).is_some() {
            return Err(StoreError::Damaged("there is another file in its place".into()));
        }
        let Some(store) = self.file.store.take() else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        let new =
            remove_files(path).map_err(StoreError::from).and_then(|()| store.copy_to(path)).and_then(|()| {
                if is_synced {
                    // SQLite does not sync a copy. Before it is opened: closing a file drops SQLite's locks on it.
                    File::open(path)?.sync_all()?;
                    sync_names(path)?;
                }
                let mut new = Store::open(path, self.disk.durability, MOMENT)?;
                new.match_bits(&self.disk.names)?;
                Ok(new)
            });
        match new {
            Ok(new) => {
                // Its files are gone: there is nothing to put in order.
                drop(store);
                self.file.store = Some(new);
                self.file.identity = identity(path);
                Ok(())
            }
            Err(error) => {
                self.file.store = Some(store);
                // Half a copy would be taken for the journal.
                let _ = remove_files(path);
                Err(error)
            }
        }
    }
}
