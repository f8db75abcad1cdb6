//! A directory of journals: one file for each origin, owned by one process.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Journal,
    cursor::Cursor,
    disk::Disk,
    lock::Lock,
    private,
    store::{BESIDE, Found, NOTHING_MORE, Origin, Store, StoreError, inspect_header, remove_files},
};
use crate::{
    config::{Config, Durability, JournalConfig},
    error::Error,
    fork,
    shared::Level,
    source::Source,
};

/// What was opened.
pub struct Opened {
    /// Where this process's writes go.
    pub own: Source,
    /// What dead processes left, the oldest first.
    pub adopted: Vec<Source>,
    /// What the user has to be told.
    pub told: Vec<(Level, String)>,
}

/// Opens this process's journal, and those of processes that are dead.
pub fn open(config: &Config) -> Result<Opened, Error> {
    let Some(settings) = &config.journal else {
        let origin = uuid::Uuid::new_v4().to_string();
        let own = Source::new(origin, Journal::in_memory(config.limits()), no_cursors(config));
        return Ok(Opened { own, adopted: Vec::new(), told: Vec::new() });
    };
    let _inside = fork::enter();
    let names = config.replicas.iter().map(|replica| replica.name.clone()).collect();
    let directory = Directory { config, settings, names, path: create(settings)? };
    let mut told = Vec::new();
    let own_origin = settings.origin.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let (adopted, newest) = directory.adopt(&own_origin, &mut told)?;
    let own = directory.own(own_origin, &adopted, newest, &mut told)?;
    let letters = own.journal.disk();
    for source in &adopted {
        if let (Some(from), Some(to)) = (source.journal.disk(), letters) {
            if let Err(error) = from.move_letters(to) {
                told.push((Level::Error, letters_left(from.path(), &error)));
            }
            from.rest();
        }
    }
    Ok(Opened { own, adopted, told })
}

fn no_cursors(config: &Config) -> Vec<Cursor> {
    config.replicas.iter().map(|_| Cursor::default()).collect()
}

struct Directory<'a> {
    config: &'a Config,
    settings: &'a JournalConfig,
    names: Arc<[String]>,
    path: PathBuf,
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

/// Has the disk keep the names of a directory and of all above it, whoever made them: what is synced in a directory is gone
/// with its name.
fn sync_names(path: &Path) -> io::Result<()> {
    for directory in path.ancestors().skip(1) {
        // One that may be entered but not read was not made by us.
        let Ok(opened) = fs::File::open(directory) else { continue };
        match opened.sync_all() {
            // Some file systems cannot, or need not.
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) && !is_read_only(&error) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

impl Directory<'_> {
    fn error(&self, path: &Path, problem: &dyn std::fmt::Display) -> Error {
        Error::Journal { path: path.display().to_string(), problem: problem.to_string() }
    }

    fn path(&self, origin: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{origin}.{extension}"))
    }

    /// Opens the journal of this process: a new one, or the one whose origin was named.
    fn own(
        &self,
        origin: String,
        adopted: &[Source],
        newest: f64,
        told: &mut Vec<(Level, String)>,
    ) -> Result<Source, Error> {
        let path = self.path(&origin, "journal");
        let failed = |problem: &dyn std::fmt::Display| self.error(&path, problem);
        let lock = Lock::take(&self.path(&origin, "lock")).map_err(|error| failed(&error))?;
        let lock = lock.ok_or_else(|| failed(&"another process is using it"))?;
        let made = Origin { id: &origin, named: self.settings.origin.is_some() };
        let made = match inspect_header(&path) {
            Ok(()) => Store::open(&path, self.settings.durability),
            Err(StoreError::Damaged(problem)) if path.exists() => return Err(failed(&problem)),
            Err(_) => remove_files(&path)
                .map_err(|error| StoreError::Damaged(error.to_string()))
                .and_then(|()| Store::create(&path, made, self.settings.durability, newest)),
        };
        let mut store = made.map_err(|error| failed(&error))?;
        if store.origin() != origin {
            return Err(failed(&renamed(store.origin())));
        }
        let mut found = self.read(&mut store, &lock, &path, told).map_err(|error| failed(&error))?;
        // Its origin goes on without them, and the file would never get smaller.
        store.forget_gone().map_err(|error| failed(&error))?;
        for (index, cursor) in found.cursors.iter_mut().enumerate() {
            // A stop concerns the replica, whoever numbered the writes.
            let stopped = adopted.iter().rev().find_map(|source| source.cursors[index].state.stopped.clone());
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

    /// Opens the journals whose processes are dead. Second comes when the youngest of them was made.
    fn adopt(&self, own: &str, told: &mut Vec<(Level, String)>) -> Result<(Vec<Source>, f64), Error> {
        let entries = fs::read_dir(&self.path).map_err(|error| self.error(&self.path, &error))?;
        let mut adopted = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let origin = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            let is = |end: &str| path.extension().is_some_and(|extension| extension == end) && origin != own;
            let lock_path = self.path(&origin, "lock");
            let journal = self.path(&origin, "journal");
            if (is("lock") || BESIDE.iter().any(|end| is(&format!("journal{end}")))) && !journal.exists() {
                // Its process, or the power, ended while they were removed, or made.
                if let Ok(Some(lock)) = Lock::take(&lock_path) {
                    let _ = remove_files(&journal).and_then(|()| lock.remove());
                }
            }
            if is("journal") && !Lock::is_held_here(&lock_path) {
                match self.adopt_one(&path, &origin, told) {
                    Ok(found) => adopted.extend(found),
                    Err(error) => told.push((Level::Error, not_delivered(&path, &error))),
                }
            }
        }
        adopted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let newest = adopted.last().map_or(0.0, |(created, _)| *created);
        Ok((adopted.into_iter().map(|(_, source)| source).collect(), newest))
    }

    fn adopt_one(
        &self,
        path: &Path,
        origin: &str,
        told: &mut Vec<(Level, String)>,
    ) -> Result<Option<(f64, Source)>, StoreError> {
        if let Err(error @ StoreError::Damaged(_)) = inspect_header(path) {
            // Not ours, or not readable: its directory gets no lock file either.
            return Err(error);
        }
        let io = |error: io::Error| StoreError::Damaged(error.to_string());
        let Some(lock) = Lock::take(&self.path(origin, "lock")).map_err(io)? else { return Ok(None) };
        if !path.exists() {
            // Its last owner has just finished it.
            return lock.remove().map_err(io).map(|()| None);
        }
        // Once more: before we had the lock, somebody was perhaps still making it.
        match (inspect_header(path), lock.noted()) {
            (Ok(()), _) => {}
            // Its process ended while it made it.
            (Err(StoreError::Empty), None) => {
                return remove_files(path).and_then(|()| lock.remove()).map_err(io).map(|()| None);
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
        let mut store = Store::open(path, self.settings.durability)?;
        let found = self.read(&mut store, &lock, path, told)?;
        if store.is_named() && store.is_spent()? {
            // It only keeps its numbers, for whoever goes on with it.
            return Ok(None);
        }
        let created = store.created()?;
        Ok(Some((created, self.source(path.to_owned(), origin.to_owned(), store, lock, found))))
    }

    fn read(
        &self,
        store: &mut Store,
        lock: &Lock,
        path: &Path,
        told: &mut Vec<(Level, String)>,
    ) -> Result<Found, StoreError> {
        let mut found = store.match_replicas(&self.names)?;
        let path = path.display();
        for (name, count) in &found.gone {
            told.push((
                Level::Warning,
                format!(
                    "the journal {path} holds {count} writes for {name:?}, which is not among the replicas; they stay \
                     there until it is"
                ),
            ));
        }
        if let Some(noted) = lock.noted().filter(|&noted| noted > found.last) {
            told.push((
                Level::Error,
                format!(
                    "the journal {path} has lost its end: writes {} to {noted} were in it; what is left is delivered, and \
                     the replicas lack the rest: sync them anew",
                    found.last + 1
                ),
            ));
            // Their numbers were given to writes that a replica may know.
            store.skip_to(noted)?;
            found.last = noted;
        }
        Ok(found)
    }

    fn source(&self, path: PathBuf, origin: String, store: Store, lock: Lock, found: Found) -> Source {
        let Found { last, cursors, lag, .. } = found;
        let positions = cursors.iter().map(|cursor| cursor.position).collect();
        let disk = Disk::new(path, self.settings.durability, Arc::clone(&self.names), last, store, lock);
        Source::new(origin, Journal::on_disk(self.config.limits(), disk, last, lag, positions), cursors)
    }
}

/// What to say of rejected writes that cannot be read.
pub fn letters_left(path: &Path, error: &StoreError) -> String {
    format!("the rejected writes in the journal {} stay there: {error}", path.display())
}

fn renamed(holds: &str) -> String {
    format!("it holds the writes of {holds}: it was copied or renamed")
}

fn not_delivered(path: &Path, error: &StoreError) -> String {
    format!("the journal {} is left as it is, and nothing in it is delivered: {error}", path.display())
}
