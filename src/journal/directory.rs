//! A directory of journals: one file for each origin, owned by one process.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::{
    Journal, Limits,
    cursor::Cursor,
    disk::{Disk, Kind, MOMENT},
    lock::{Lock, is_open_elsewhere},
    private,
    store::{
        BESIDE, Found, Gone, NOTHING_MORE, Origin, STARTING, Store, StoreError, inspect_header, remove_files,
    },
};
use crate::{
    config::{Config, Durability, JournalConfig},
    error::Error,
    fork,
    shared::Level,
    source::Source,
};

/// How many journals of dead processes are delivered at a time: each holds a descriptor, and up to four while it is at work.
/// The others wait until one is done.
pub const MAX_ADOPTED: usize = 64;

/// What was opened.
pub struct Opened {
    /// Where this process's writes go.
    pub own: Source,
    /// What dead processes left.
    pub adopted: Adopted,
    /// Where further ones are found.
    pub directory: Option<Directory>,
}

/// Journals of dead processes.
#[derive(Default)]
pub struct Adopted {
    /// Those that were taken over, the oldest first.
    pub sources: Vec<Source>,
    /// How many wait until there is room for them.
    pub waiting: usize,
    /// How many are left as they are, because they cannot be delivered.
    pub damaged: usize,
    /// What the user has to be told.
    pub told: Vec<(Level, String)>,
    /// Which journals are of processes that did not end as they should.
    pub unclean: Vec<String>,
}

/// Opens this process's journal, and those of processes that are dead.
pub fn open(config: &Config) -> Result<Opened, Error> {
    let Some(settings) = &config.journal else {
        let origin = uuid::Uuid::new_v4().to_string();
        let own = Source::new(origin, Journal::in_memory(config.limits()), no_cursors(config));
        return Ok(Opened { own, adopted: Adopted::default(), directory: None });
    };
    let _inside = fork::enter();
    let own_origin = settings.origin.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let directory = Directory {
        names: config.replicas.iter().map(|replica| replica.name.clone()).collect(),
        path: create(settings)?,
        own: own_origin,
        settings: settings.clone(),
        limits: config.limits(),
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

fn no_cursors(config: &Config) -> Vec<Cursor> {
    config.replicas.iter().map(|_| Cursor::default()).collect()
}

impl Adopted {
    /// Has all rejected writes of all replicas in one place.
    pub fn move_letters(&mut self, to: &Disk) {
        for from in self.sources.iter().filter_map(|source| source.journal.disk()) {
            if let Err(error) = from.move_letters(to) {
                self.told.push((Level::Error, letters_left(from.path(), &error)));
            }
        }
    }

    fn tell(&mut self, level: Level, message: String) {
        self.told.push((level, message));
    }
}

/// How a journal was found that is not adopted: its size and its time of change, with those of its log.
type Look = [Option<(u64, SystemTime)>; 2];

/// A directory in which processes keep their journals.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    names: Arc<[String]>,
    /// The origin of this process.
    own: String,
    settings: JournalConfig,
    limits: Limits,
    /// Journals that are not delivered, as they were when that was found, and whether they are damaged: they are not opened
    /// again, and not told of again, before they change.
    seen: Mutex<HashMap<PathBuf, (Look, bool)>>,
    /// Journals that could not be opened for what passes by itself: each is told of once.
    held_up: Mutex<HashSet<PathBuf>>,
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

/// Has the disk keep the name of a file or directory and of all above it, whoever made them: what is synced in one is gone with
/// its name.
pub(super) fn sync_names(path: &Path) -> io::Result<()> {
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

impl Directory {
    fn error(&self, path: &Path, problem: &dyn std::fmt::Display) -> Error {
        Error::Journal { path: path.display().to_string(), problem: problem.to_string() }
    }

    fn path(&self, origin: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{origin}.{extension}"))
    }

    /// Opens the journal of this process: a new one, or the one whose origin was named.
    fn own(&self, adopted: &mut Adopted, newest: f64) -> Result<Source, Error> {
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

    /// Opens at most `room` of the journals whose processes are dead, the oldest first.
    pub fn adopt(&self, room: usize) -> Result<Adopted, Error> {
        let _inside = fork::enter();
        let mut adopted = Adopted::default();
        let mut dead = self.dead(&mut adopted)?;
        dead.sort_by(|(a, _, _), (b, _, _)| a.total_cmp(b));
        for (_, path, origin) in dead {
            if adopted.sources.len() >= room {
                adopted.waiting += 1;
                continue;
            }
            match self.adopt_one(&path, &origin, &mut adopted) {
                Ok(Some(source)) => adopted.sources.push(source),
                // Somebody else has it, or has just finished it.
                Ok(None) => {}
                Err(error) => self.refuse(&path, &error, &mut adopted),
            }
        }
        Ok(adopted)
    }

    /// Gives up what all journals of dead processes that are not in hand hold for replica number `index`, which was synced
    /// from a copy of the primary: what they hold is in the copy.
    pub fn give_up(&self, index: usize) -> Result<Adopted, Error> {
        let _inside = fork::enter();
        let mut adopted = Adopted::default();
        let dead = self.dead(&mut adopted)?;
        if adopted.waiting > 0 {
            // Delivered later, it would be in the copy a second time.
            return Err(
                self.error(&self.path, &"a journal of a dead process cannot be opened now; resume again")
            );
        }
        for (_, path, origin) in dead {
            let given_up = self.adopt_one(&path, &origin, &mut adopted).and_then(|source| {
                let Some(source) = source else { return Ok(()) };
                let Some(disk) = source.journal.disk() else { return Ok(()) };
                disk.give_up(&self.names[index], index)?;
                // How its process ended is noted by now: who takes the file over next is not to take it for our end.
                disk.end(true);
                Ok(())
            });
            given_up.map_err(|error| self.error(&path, &error))?;
        }
        Ok(adopted)
    }

    /// The journals whose processes are dead: when each was made, where it is, and whose it was.
    fn dead(&self, adopted: &mut Adopted) -> Result<Vec<(f64, PathBuf, String)>, Error> {
        let entries = fs::read_dir(&self.path).map_err(|error| self.error(&self.path, &error))?;
        let mut dead = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let origin = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            let is =
                |end: &str| path.extension().is_some_and(|extension| extension == end) && origin != self.own;
            let lock_path = self.path(&origin, "lock");
            let journal = self.path(&origin, "journal");
            if (is("lock") || BESIDE.iter().any(|end| is(&format!("journal{end}")))) && !journal.exists() {
                clear(&journal, &lock_path);
            }
            if !is("journal") || Lock::is_held_here(&lock_path) {
                continue;
            }
            match self.look(&path) {
                Some(damaged) => adopted.damaged += usize::from(damaged),
                None => match self.look_at(&path, &lock_path) {
                    Ok(Some(created)) => dead.push((created, path, origin)),
                    Ok(None) => {}
                    Err(error) => self.refuse(&path, &error, adopted),
                },
            }
        }
        Ok(dead)
    }

    /// When a journal was made, if its process is dead.
    fn look_at(&self, path: &Path, lock_path: &Path) -> Result<Option<f64>, StoreError> {
        match inspect_header(path) {
            // Not ours, or not readable: its directory gets no lock file either.
            // It is being made, or its process ended while it made it.
            Err(StoreError::Empty) => return Ok(Some(0.0)),
            // Somebody has just finished it.
            Err(_) if !path.exists() => return Ok(None),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        // The lock of a living process may have been removed. Its process makes it again; until then, nobody else may.
        if !lock_path.exists() && is_open_elsewhere(path)? {
            return Ok(None);
        }
        let Some(_lock) = Lock::take(lock_path)? else { return Ok(None) };
        Store::peek_created(path).map(Some)
    }

    /// What is known of a journal that was not adopted and has not changed since: whether it is damaged.
    fn look(&self, path: &Path) -> Option<bool> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(path).filter(|(before, _)| *before == look_of(path)).map(|(_, damaged)| *damaged)
    }

    /// Notes that a journal is not delivered as it is.
    pub fn pass_over(&self, path: &Path, damaged: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(path.to_owned(), (look_of(path), damaged));
    }

    fn refuse(&self, path: &Path, error: &StoreError, adopted: &mut Adopted) {
        if error.passes_by_itself() {
            // It is looked at again each time, and waits until then: flush() must not be True without it.
            adopted.waiting += 1;
            let mut held_up = self.held_up.lock().unwrap_or_else(PoisonError::into_inner);
            if held_up.insert(path.to_owned()) {
                adopted.tell(Level::Warning, waits(path, error));
            }
            return;
        }
        adopted.damaged += 1;
        self.pass_over(path, true);
        adopted.tell(Level::Error, not_delivered(path, error));
    }

    fn adopt_one(
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

/// What to say of a replica that is not among the settings and has not got everything.
pub fn tell_gone(path: &Path, gone: &Gone) -> (Level, String) {
    let (path, name, count) = (path.display(), &gone.name, gone.pending.writes);
    let holds =
        format!("the journal {path} holds {count} writes for {name:?}, which is not among the replicas");
    if gone.given_up {
        let why = "with what came after them they take more than max_journal_bytes, or there are more than 64 replicas";
        return (Level::Error, format!("{holds}; they are given up: {why}. It has to be synced anew"));
    }
    let advice = format!("a replica that moved is known by its name: Replica(url, name={name:?})");
    (Level::Warning, format!("{holds}; they stay there until it is ({advice})"))
}

/// Removes what is left of a journal whose process, or the power, ended while its files were removed, or made. What does not
/// work is tried again by the next one.
fn clear(journal: &Path, lock_path: &Path) {
    // Once more: before we had the lock, somebody was perhaps just making it.
    if let Ok(Some(lock)) = Lock::take(lock_path)
        && !journal.exists()
    {
        let _ = remove_files(journal).and_then(|()| lock.remove());
    }
}

fn look_of(path: &Path) -> Look {
    let look =
        |path: &Path| fs::metadata(path).ok().and_then(|data| Some((data.len(), data.modified().ok()?)));
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [look(path), look(Path::new(&log))]
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

fn waits(path: &Path, error: &StoreError) -> String {
    format!("the journal {} cannot be opened now, and is tried again: {error}", path.display())
}
