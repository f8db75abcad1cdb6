//! A journal's file in use: who may touch it when, and what happens when the disk fails.

mod collecting;
mod failing;
mod letters;
mod place;
mod saving;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    error::StoreError,
    files::{identity, remove_files},
    group::Group,
    lock::Lock,
    settings::Durability,
    store::Store,
};
use crate::{
    ground::fork,
    journal::{
        file::store::members::Found,
        memory::letter::{DeadLetter, LetterKey},
    },
};

/// How many writes go into one transaction of the file, and out of it: a caller that waits for the file never waits
/// for more.
pub const GROUP: usize = 1_000;

/// How long a step waits for a lock: a user who looks into the file with another tool may hold one for a moment, and a caller
/// may wait for the step. While the file cannot be written anyway, nothing waits.
pub const MOMENT: Duration = Duration::from_millis(250);

/// How a file is used.
#[derive(Debug)]
pub struct Kind {
    /// When a write counts as handed over.
    pub durability: Durability,
    /// The replicas' names, to open it again.
    pub names: Arc<[String]>,
    /// How many bytes it may hold for a replica that left the settings.
    pub max_gone: usize,
}

/// The file of one origin, owned by this process.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    durability: Durability,
    /// The last write that is in the file.
    saved: AtomicU64,
    /// The last write that was removed from it.
    collected: AtomicU64,
    /// Whether the file is larger than what is in it.
    room: AtomicBool,
    /// Who is saving writes, and who waits for that.
    group: Group,
    /// Whether its origin was named by the user, who may go on with it: its numbers must not be forgotten.
    named: bool,
    /// The replicas' names, to open it again.
    names: Arc<[String]>,
    /// How many bytes it may hold for a replica that left the settings.
    max_gone: usize,
    /// How many use the open store: this process for its own, and each task that delivers it.
    users: AtomicUsize,
    /// Whether there may be rejected writes in it.
    has_letters: AtomicBool,
    file: Mutex<File>,
    failure: Mutex<Failure>,
}

#[derive(Debug, Default)]
struct Failure {
    /// Why it cannot be written now.
    problem: Option<Arc<str>>,
    /// Whether it was writes that could not be put there: that a small change works again proves nothing then.
    writes: bool,
    /// What it has lost.
    damage: Option<Arc<str>>,
    /// Why no next process will find the file.
    gone: Option<Arc<str>>,
    retry_at: Option<Instant>,
    /// Something that happened and has not been told.
    told: Vec<String>,
    /// Dead letters that are being replayed, and the numbers of the writes: all go into the file in one step, or none.
    replayed: Vec<(LetterKey, u64)>,
    /// Replicas that were synced from a copy: what is in the file of their dead letters is to be removed.
    copied: Vec<String>,
    /// Dead letters that could not be put into the file.
    letters: Vec<DeadLetter>,
}

/// The open file. A journal that only waits its turn has no store open: many processes may have died, and each store takes
/// several descriptors.
#[derive(Debug)]
struct File {
    store: Option<Store>,
    /// Gone once the journal is done with.
    lock: Option<Lock>,
    /// Which file the journal was when it was opened.
    identity: Option<(u64, u64)>,
    /// When it was last seen that it is still there.
    seen: Instant,
}

/// The file, locked; no fork happens meanwhile.
struct Access<'a> {
    disk: &'a Disk,
    file: MutexGuard<'a, File>,
    _inside: fork::Inside,
}

impl Disk {
    /// The file at `path`, of which it is known what was `found` in it.
    pub fn new(path: PathBuf, kind: Kind, found: &Found, store: Store, lock: Lock) -> Self {
        let Kind { durability, names, max_gone } = kind;
        Self {
            named: store.is_named(),
            users: AtomicUsize::new(0),
            has_letters: AtomicBool::new(found.has_letters),
            file: Mutex::new(File {
                store: Some(store),
                lock: Some(lock),
                identity: identity(&path),
                seen: Instant::now(),
            }),
            path,
            durability,
            saved: AtomicU64::new(found.last),
            collected: AtomicU64::new(0),
            room: AtomicBool::new(true),
            group: Group::default(),
            names,
            max_gone,
            failure: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its origin was named by the user.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// When a write counts as handed over.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The last write that is in the file.
    pub fn saved(&self) -> u64 {
        self.saved.load(Ordering::Acquire)
    }

    fn store(&self) -> Access<'_> {
        let inside = fork::enter();
        Access { disk: self, file: self.file.lock().unwrap_or_else(PoisonError::into_inner), _inside: inside }
    }

    pub(in crate::journal) fn with<T>(
        &self,
        run: impl FnMut(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.store().with(run)
    }

    fn failure(&self) -> MutexGuard<'_, Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more who uses the open store.
    pub fn enter(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    /// One less. A store that nobody uses is closed until it is needed again; the journal stays owned.
    pub fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.store().rest();
        }
    }

    /// Whether the file is in use.
    pub fn is_open(&self) -> bool {
        self.store().file.lock.is_some()
    }

    /// Closes the file, and removes it if nothing in it is of any use. `clean` where nothing of it was lost. Whether it is
    /// gone.
    pub fn end(&self, clean: bool) -> bool {
        let mut access = self.store();
        // What fails here leaves the mark of an unclean end, which is then true.
        let clean = clean && self.put_letters(&mut access);
        let spent = clean && !self.named && access.with(|store| store.is_spent()).unwrap_or(false);
        if clean && !spent {
            let _ = access.with(|store| store.set_in_use(false));
        }
        if let Some(store) = access.file.store.take() {
            store.close();
        }
        let Some(lock) = access.file.lock.take() else { return false };
        if spent {
            let _ = remove_files(&self.path);
            // Last: while it is there, nobody takes what is left of the journal for a damaged one.
            let _ = lock.remove();
        }
        spent
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        // Many processes may have died, and each store takes several descriptors.
        if self.disk.users.load(Ordering::Acquire) == 0 {
            self.rest();
        }
    }
}

impl Access<'_> {
    fn note(&self, seq: u64) {
        if let Some(lock) = &self.file.lock {
            // The note serves to find damage; without it the writes are as safe as before.
            let _ = lock.note(seq);
        }
    }

    /// Runs something on the file, unless the journal is done with. Where there is no room, it makes some and tries again.
    fn with<T>(&mut self, mut run: impl FnMut(&mut Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let patience = if self.disk.failure().problem.is_some() { Duration::ZERO } else { MOMENT };
        let store = self.open()?;
        store.wait_for_locks(patience);
        match run(store) {
            Err(error) if error.is_full() && store.make_room() => run(store),
            result => result,
        }
    }

    /// Closes the store.
    fn rest(&mut self) {
        if let Some(store) = self.file.store.take() {
            store.close();
        }
    }

    fn open(&mut self) -> Result<&mut Store, StoreError> {
        if self.file.lock.is_none() {
            return Err(StoreError::Closed);
        }
        let store = match self.file.store.take() {
            Some(store) => store,
            None => {
                let mut store = Store::open(&self.disk.path, self.disk.durability, MOMENT)?;
                store.match_bits(&self.disk.names)?;
                store
            }
        };
        Ok(self.file.store.insert(store))
    }
}
