//! A journal's file in use: who may touch it when, and what happens when the disk fails.

mod letters;
mod place;

pub use letters::NotReplayed;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    GROUP,
    cursor::Cursor,
    damage,
    directory::tell_gone,
    group::{Group, Wait},
    letter::{DeadLetter, LetterKey},
    lock::{Lock, identity},
    queue::Queue,
    ride::Ride,
    room::{FEW, FEW_PAGES},
    store::{Found, Store, StoreError, remove_files},
};
use crate::{
    config::Durability,
    error::Error,
    fork,
    reason::{Reason, ReasonCode},
};

/// How long a disk that failed is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a step waits for a lock: a user who looks into the file with another tool may hold one for a moment, and a caller
/// may wait for the step. While the file cannot be written anyway, nothing waits.
pub const MOMENT: Duration = Duration::from_millis(250);

/// How many pages are given back at once: 4 MiB, of which a caller that waits for the file meanwhile hardly notices.
const PAGES: i64 = 1_000;

/// How many bytes a replica lacks that does not keep up: half of what one request takes.
const FULL: usize = 50_000;

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

    /// The last write that was removed from it.
    pub(super) fn collected(&self) -> u64 {
        self.collected.load(Ordering::Relaxed)
    }

    fn store(&self) -> Access<'_> {
        let inside = fork::enter();
        Access { disk: self, file: self.file.lock().unwrap_or_else(PoisonError::into_inner), _inside: inside }
    }

    pub(super) fn with<T>(
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

    /// Puts the writes up to number `seq` into the file. One thread at a time does so, for all that have come by then;
    /// the others wait for it.
    pub(super) fn save_through(&self, queue: &Queue, seq: u64) {
        // Once the queue is closed, a number may be given to what is not kept.
        let seq = seq.min(queue.last());
        // Only a commit that syncs costs more than waiting for others.
        let mut wait = Wait { seq, gather: self.durability == Durability::Disk };
        while self.saved() < seq {
            if self.is_resting() {
                self.failure().writes = true;
                queue.send_unsaved();
                return;
            }
            if !self.group.join(&mut wait, || self.saved() >= seq) {
                continue;
            }
            let saved = self.save(&mut self.store(), queue, seq);
            self.end_lead(saved, true);
            if !saved {
                return;
            }
        }
    }

    /// Lets others commit, and those go who wait for nothing more.
    fn end_lead(&self, saved: bool, wrote: bool) {
        // Where it failed, all have to see that.
        self.group.end(if saved { self.saved() } else { u64::MAX }, wrote);
    }

    /// Whether some thread saves writes, or waits for that.
    pub(super) fn is_attended(&self) -> bool {
        self.group.is_attended()
    }

    /// Whether that worked.
    fn save(&self, access: &mut Access<'_>, queue: &Queue, seq: u64) -> bool {
        while self.saved() < seq {
            if !self.save_group(access, queue) {
                return false;
            }
        }
        true
    }

    /// Puts into the file what waits for it, in one step. Whether that worked.
    fn save_group(&self, access: &mut Access<'_>, queue: &Queue) -> bool {
        access.look();
        let mut rides = self.group.take_rides();
        if !rides.is_empty() && !self.put_letters(access) {
            rides.drain(..).for_each(|ride| ride.end(false));
        }
        let saved = self.commit(access, queue, &rides);
        rides.iter().for_each(|ride| ride.end(saved));
        saved
    }

    fn commit(&self, access: &mut Access<'_>, queue: &Queue, rides: &[Arc<Ride>]) -> bool {
        let (replayed, numbers): (Vec<_>, Vec<_>) = self.failure().replayed.iter().cloned().unzip();
        // A dead letter goes in the same step in which all writes come that replay one.
        let count = if replayed.is_empty() { GROUP } else { usize::MAX };
        let (writes, last) = queue.unsaved(self.saved(), count);
        let new = last > self.saved();
        if !new && rides.is_empty() {
            return true;
        }
        let result = access.with(|store| {
            let cursors = rides.iter().map(|ride| (ride.replica, &ride.cursor));
            store.insert(writes.iter().map(|write| &**write), &replayed, cursors)?;
            if new && writes.is_empty() { store.skip_to(last) } else { Ok(()) }
        });
        if !new {
            return self.check(result);
        }
        if let Err(error) = result {
            self.fails(&error);
            {
                let mut failure = self.failure();
                failure.writes = true;
                failure.replayed.clear();
            }
            // Sent from memory, they would be replayed once more by a process that finds the letters in the file.
            queue.withdraw(&numbers);
            queue.send_unsaved();
            return false;
        }
        self.works();
        self.failure().replayed.clear();
        access.note(last);
        self.saved.store(last, Ordering::Release);
        queue.saved(last);
        true
    }

    fn is_resting(&self) -> bool {
        self.failure().retry_at.is_some_and(|at| Instant::now() < at)
    }

    /// Whether a step worked. If not, the problem is there for all to see until writes can be put into the file again.
    fn check<T>(&self, result: Result<T, StoreError>) -> bool {
        if let Err(error) = &result {
            self.fails(error);
        } else if !self.failure().writes {
            self.works();
        }
        result.is_ok()
    }

    /// Notes that the file cannot be written.
    fn fails(&self, error: &StoreError) {
        if matches!(error, StoreError::Closed) {
            return;
        }
        let mut failure = self.failure();
        let problem = format!("the journal {} could not be written: {error}", self.path.display());
        if failure.problem.is_none() {
            failure.told.push(format!(
                "{problem}; writes are kept in memory and delivered from there, and are lost if this process ends before"
            ));
        }
        failure.problem = Some(problem.into());
        failure.retry_at = Some(Instant::now() + RETRY);
    }

    /// Notes that writes can be put into the file.
    fn works(&self) {
        let mut failure = self.failure();
        failure.writes = false;
        if failure.problem.take().is_some() {
            failure.retry_at = None;
            failure.told.push(format!("the journal {} can be written again", self.path.display()));
        }
    }

    /// Keeps how far a replica is. Whether that worked.
    pub(super) fn save_cursor(&self, queue: &Queue, replica: u8, cursor: &Cursor) -> bool {
        if self.is_resting() {
            return false;
        }
        if self.durability == Durability::Disk && self.failure().problem.is_none() {
            return self.save_cursor_with_writes(queue, replica, cursor);
        }
        let mut access = self.store();
        self.put_letters(&mut access)
            && self.check(access.with(|store| store.save_cursor(usize::from(replica), cursor)))
    }

    /// Holds no replica back that lacks something of what was appended until now: somebody waits for it.
    pub(super) fn hurry(&self, queue: &Queue) {
        if self.durability == Durability::Disk {
            self.group.hurry(queue.last());
        }
    }

    /// The same, in the step that saves the writes of others: a step that syncs costs about the same whatever is in it.
    fn save_cursor_with_writes(&self, queue: &Queue, replica: u8, cursor: &Cursor) -> bool {
        let ride = self.group.add_ride(replica, cursor, queue.lag(replica).bytes < FULL);
        while ride.is_open() {
            if self.is_resting() {
                self.group.remove_ride(&ride);
                break;
            }
            if self.group.join_ride(&ride) {
                let saved = self.save_group(&mut self.store(), queue);
                self.end_lead(saved, false);
            }
        }
        ride.is_saved()
    }

    /// Removes a group of writes that every replica is past. Whether there may be more.
    pub(super) fn collect(&self, floor: u64) -> bool {
        if self.is_resting() {
            return false;
        }
        let mut access = self.store();
        let (most, result) = match access.with(|store| store.collect(GROUP)) {
            Err(error) if error.is_full() => (FEW, access.with(|store| store.collect(FEW))),
            result => (GROUP, result),
        };
        let full = match &result {
            Ok((count, through)) => {
                // What is left up to there waits for a replica that is not among the settings.
                let whole = *count == most;
                self.collected.store(if whole { *through } else { floor.max(*through) }, Ordering::Relaxed);
                whole
            }
            Err(_) => false,
        };
        if full || !self.check(result) {
            return full;
        }
        match access.with(|store| store.limit_gone(self.max_gone)) {
            Ok(gone) if !gone.is_empty() => {
                let told = gone.iter().map(|gone| tell_gone(&self.path, gone).1);
                self.failure().told.extend(told);
                // What was held for them goes.
                self.collected.store(0, Ordering::Relaxed);
                return true;
            }
            // It is tried again with the next group.
            _ => {}
        }
        let shrunk = access.with(|store| store.shrink(PAGES));
        let room = shrunk.or_else(|_| access.with(|store| store.shrink(FEW_PAGES))).unwrap_or(false);
        self.room.store(room, Ordering::Relaxed);
        room
    }

    /// Whether the file may be larger than what is in it.
    pub(super) fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed)
    }

    /// Puts into the file what could not be put there when it happened. Whether the disk still fails.
    pub(super) fn catch_up(&self, queue: &Queue) -> bool {
        let failed = |failure: &Failure| {
            let open = !failure.letters.is_empty() || !failure.copied.is_empty();
            open || failure.problem.is_some() || failure.gone.is_some()
        };
        if !failed(&self.failure()) || self.is_resting() {
            return failed(&self.failure());
        }
        // Held throughout, so that no letter is replayed meanwhile.
        let mut access = self.store();
        access.look();
        let last = self.saved().min(queue.last());
        if !self.put_letters(&mut access) || !self.check(access.with(|store| store.skip_to(last))) {
            return true;
        }
        if self.saved() < queue.last() {
            // Whether writes fit again is seen when they are put there.
            self.failure().retry_at = None;
        } else {
            self.works();
        }
        self.failure().gone.is_some()
    }

    /// Has the disk tried again at once.
    pub fn try_again(&self) {
        self.failure().retry_at = None;
    }

    /// Whether the file is in use.
    pub fn is_open(&self) -> bool {
        self.store().file.lock.is_some()
    }

    /// What to tell who asked for something that the file could not do.
    pub fn error(&self, problem: &StoreError) -> Error {
        Error::Journal { path: self.path.display().to_string(), problem: problem.to_string() }
    }

    /// What is wrong with the file now.
    pub fn problem(&self) -> Option<Arc<str>> {
        if !self.is_open() {
            return None;
        }
        let failure = self.failure();
        let problem = failure.problem.as_ref().or(failure.gone.as_ref()).or(failure.damage.as_ref());
        problem.cloned()
    }

    /// What happened since the last time this was asked.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.failure().told)
    }

    /// Why something could not be read. What is damaged stays so; a disk that fails is asked again.
    pub(super) fn unreadable(&self, error: &StoreError) -> Reason {
        if error.is_passing() {
            let message = format!("the journal {} cannot be read now: {error}", self.path.display());
            return Reason::new(ReasonCode::Unavailable, message);
        }
        let reason = damage(&self.path, error);
        self.failure().damage = Some(reason.message.share());
        reason
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
