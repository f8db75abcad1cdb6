//! Opening one journal of a directory: this process's own, or that of a process that is dead.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Directory;
use crate::{
    ground::{error::Error, event::Level},
    journal::{
        adopted::Adopted,
        file::{
            disk::{Disk, Kind, MOMENT},
            error::StoreError,
            files::remove_files,
            header::inspect_header,
            lock::Lock,
            store::{Origin, Store, members::Found, opening::STARTING},
            told::{renamed, tell_gone},
        },
        journal::Journal,
        memory::cursor::NOTHING_MORE,
        source::Source,
    },
};

impl Directory {
    /// Opens the journal of this process: a new one, or the one whose origin was named.
    pub(super) fn own(&self, adopted: &mut Adopted, newest: f64) -> Result<Source, Error> {
        let origin = self.own.clone();
        let path = self.path(&origin, "journal");
        let failed = |problem: &dyn std::fmt::Display| self.error(&path, problem);
        let lock = Lock::take(&self.path(&origin, "lock")).map_err(|error| failed(&error))?;
        let lock = lock.ok_or_else(|| failed(&"another process is using it"))?;
        let made = Origin { id: &origin, named: self.settings.origin.is_some() };
        let made = match inspect_header(&path) {
            Ok(()) => Store::open(&path, self.settings.durability, STARTING),
            Err(error) if !matches!(error, StoreError::Empty) && path.exists() => return Err(failed(&error)),
            Err(_) => remove_files(&path)
                .map_err(|error| StoreError::Damaged(error.to_string()))
                .and_then(|()| Store::create(&path, made, self.settings.durability, newest)),
        };
        let mut store = made.map_err(|error| failed(&error))?;
        if store.origin() != origin {
            return Err(failed(&renamed(store.origin())));
        }
        store.set_in_use(true).map_err(|error| failed(&error))?;
        let found = self.read(&mut store, &lock, &path, true, adopted);
        let mut found = found.map_err(|error| failed(&error))?;
        for (index, cursor) in found.cursors.iter_mut().enumerate() {
            // A stop concerns the replica, whoever numbered the writes.
            let stops = |source: &Source| source.cursors[index].state.stopped.clone();
            let stopped = adopted.sources.iter().rev().find_map(stops);
            if let (Some(stopped), None) = (stopped, &cursor.state.stopped) {
                if stopped.is_detached() {
                    cursor.position = NOTHING_MORE;
                }
                cursor.state.stopped = Some(stopped);
                store.save_cursor(index, cursor).map_err(|error| failed(&error))?;
            }
        }
        Ok(self.source(path, origin, store, lock, found))
    }

    pub(super) fn adopt_one(
        &self,
        path: &Path,
        origin: &str,
        adopted: &mut Adopted,
    ) -> Result<Option<Source>, StoreError> {
        let Some(lock) = Lock::take(&self.path(origin, "lock"))? else { return Ok(None) };
        if !path.exists() {
            // Its last owner has just finished it.
            return Ok(lock.remove().map(|()| None)?);
        }
        // Once more: before we had the lock, somebody was perhaps still making it.
        match (inspect_header(path), lock.noted()) {
            (Ok(()), _) => {}
            // Its process ended while it made it.
            (Err(StoreError::Empty), None) => {
                return Ok(remove_files(path).and_then(|()| lock.remove()).map(|()| None)?);
            }
            (Err(StoreError::Empty), Some(seq)) => {
                return Err(StoreError::Damaged(format!("it is empty, but held writes up to number {seq}")));
            }
            (Err(error), _) => return Err(error),
        }
        let holds = Store::peek(path)?;
        if holds != origin {
            return Err(StoreError::Damaged(renamed(&holds)));
        }
        let mut store = Store::open(path, self.settings.durability, MOMENT)?;
        let found = self.read(&mut store, &lock, path, false, adopted)?;
        if store.is_named() && store.is_spent()? {
            // It only keeps its numbers, for whoever goes on with it.
            store.close();
            self.pass_over(path, false);
            return Ok(None);
        }
        if store.set_in_use(true)? && !store.is_named() {
            adopted.unclean.push(origin.to_owned());
        }
        let created = store.created()?;
        let mut source = self.source(path.to_owned(), origin.to_owned(), store, lock, found);
        source.created = created;
        Ok(Some(source))
    }

    fn read(
        &self,
        store: &mut Store,
        lock: &Lock,
        path: &Path,
        is_own: bool,
        adopted: &mut Adopted,
    ) -> Result<Found, StoreError> {
        let last = store.last()?;
        // Whom it knew may be lost with its end: then nobody has everything.
        let admits = is_own || lock.noted().is_some_and(|noted| noted > last);
        let mut found = store.match_replicas(&self.names, admits, self.settings.max_bytes)?;
        for gone in &found.gone {
            adopted.told.push(tell_gone(path, gone));
        }
        let path = path.display();
        if let Some(noted) = lock.noted().filter(|&noted| noted > found.last) {
            adopted.tell(
                Level::Error,
                format!(
                    "the journal {path} has lost its end: writes {} to {noted} were in it; what is left is delivered, and \
                     the replicas lack the rest: sync them anew",
                    found.last + 1
                ),
            );
            // Their numbers were given to writes that a replica may know.
            store.skip_to(noted)?;
            found.last = noted;
        }
        Ok(found)
    }

    fn source(&self, path: PathBuf, origin: String, store: Store, lock: Lock, found: Found) -> Source {
        // What others left does not grow.
        let max_gone = if origin == self.own { self.settings.max_bytes } else { usize::MAX };
        let kind = Kind { durability: self.settings.durability, names: Arc::clone(&self.names), max_gone };
        let disk = Disk::new(path, kind, &found, store, lock);
        if origin == self.own {
            disk.enter();
        } else {
            // Its store is opened again when its turn comes.
            disk.look();
        }
        let Found { last, cursors, lag, .. } = found;
        let positions = cursors.iter().map(|cursor| cursor.position).collect();
        Source::new(origin, Journal::on_disk(self.limits.clone(), disk, last, lag, positions), cursors)
    }
}
