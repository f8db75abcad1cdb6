//! A directory of journals: one file for each origin, owned by one process.

pub(super) mod opening;
mod taking;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::adopted::Adopted;
use crate::{
    ground::{error::Error, event::Level, fork},
    journal::{
        file::{
            error::StoreError,
            files::{BESIDE, remove_files},
            header::inspect_header,
            lock::{Lock, is_open_elsewhere},
            settings::JournalConfig,
            store::Store,
            told::{not_delivered, waits},
        },
        memory::limits::Limits,
    },
};

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

impl Directory {
    fn error(&self, path: &Path, problem: &dyn std::fmt::Display) -> Error {
        Error::Journal { path: path.display().to_string(), problem: problem.to_string() }
    }

    fn path(&self, origin: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{origin}.{extension}"))
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
