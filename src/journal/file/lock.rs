//! Who owns a journal file.
//!
//! Beside each journal lies a file that its process holds a lock on. The lock ends with the process however
//! that ends. A POSIX record lock, because a forked child does not inherit it: with any other kind a
//! dead parent's journal would stay locked for as long as a child lives.
//!
//! The file also says which write was committed last: SQLite takes a cut tail of its log for the end of it, and
//! what was in the tail would be lost without a word.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

use super::{files::identity, private};
use crate::ground::fork;

/// An owned lock file.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// The width of the noted number: it is overwritten in place.
const DIGITS: usize = 20;

impl Lock {
    /// Takes the lock at `path`; `None` when a living process holds it, this one included.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut held = held();
        // A process does not exclude itself from its own record locks, and closing a second handle would release them.
        if held.contains(path) {
            return Ok(None);
        }
        let file = private::open(path)?;
        if !try_lock(&file)? || !is_still_there(&file, path) {
            return Ok(None);
        }
        held.insert(path.to_owned());
        Ok(Some(Self { file, path: path.to_owned() }))
    }

    /// Whether this process holds the lock at `path`. To be asked before anything there is opened: closing a file drops all
    /// record locks that the process has on it, SQLite's on the journal beside it included.
    pub fn is_held_here(path: &Path) -> bool {
        held().contains(path)
    }

    /// Whether the file is still there for others to see.
    pub fn is_there(&self) -> bool {
        is_still_there(&self.file, &self.path)
    }

    /// Owns the journal again whose lock file was removed. Whether nobody else does by now.
    pub fn take_again(&mut self) -> io::Result<bool> {
        if self.is_there() {
            return Ok(true);
        }
        let noted = self.noted();
        let file = private::open(&self.path)?;
        if !try_lock(&file)? || !is_still_there(&file, &self.path) {
            return Ok(false);
        }
        self.file = file;
        if let Some(seq) = noted {
            self.note(seq)?;
        }
        Ok(true)
    }

    /// Notes the last write that was committed.
    pub fn note(&self, seq: u64) -> io::Result<()> {
        self.file.write_all_at(format!("{seq:0DIGITS$}\n").as_bytes(), 0)
    }

    /// The last write that was noted.
    pub fn noted(&self) -> Option<u64> {
        let mut digits = [0; DIGITS];
        self.file.read_exact_at(&mut digits, 0).ok()?;
        std::str::from_utf8(&digits).ok()?.parse().ok()
    }

    /// Removes the file: nobody needs to own the journal any more.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        held().remove(&self.path);
    }
}

/// A write lock on so many bytes; on all of a file where `length` is 0.
fn write_lock(start: libc::off_t, length: libc::off_t) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: start,
        l_len: length,
        l_pid: 0,
        #[cfg(target_os = "freebsd")]
        l_sysid: 0,
    }
}

/// Whether another process has the SQLite database at `path` open in WAL mode: it holds a lock on these bytes for as long
/// (<https://www.sqlite.org/src/file/src/os.h>, `SHARED_FIRST`). Not to be asked of a file that this process has open.
pub fn is_open_elsewhere(path: &Path) -> io::Result<bool> {
    const SHARED_FIRST: libc::off_t = 0x4000_0002;
    const SHARED_SIZE: libc::off_t = 510;
    let file = File::options().read(true).write(true).open(path)?;
    let mut request = write_lock(SHARED_FIRST, SHARED_SIZE);
    // SAFETY: the descriptor is open for as long as `file` lives, and `request` is a valid `flock`.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    const UNLOCKED: libc::c_short = libc::F_UNLCK as _;
    Ok(request.l_type != UNLOCKED)
}

fn try_lock(file: &File) -> io::Result<bool> {
    let request = write_lock(0, 0);
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and `request` is a valid `flock`.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &request) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EAGAIN) => Ok(false),
        _ => Err(error),
    }
}

/// Whether the path still names the file: its last owner may have removed it while we waited for the lock.
fn is_still_there(file: &File, path: &Path) -> bool {
    let named = identity(path);
    named.is_some() && file.metadata().ok().map(|data| (data.dev(), data.ino())) == named
}

struct Held {
    generation: u32,
    paths: Mutex<HashSet<PathBuf>>,
}

/// The locks of this process. A forked child starts with none, and with a mutex that nobody holds.
fn held() -> MutexGuard<'static, HashSet<PathBuf>> {
    static HELD: AtomicPtr<Held> = AtomicPtr::new(ptr::null_mut());
    let generation = fork::generation();
    loop {
        let current = HELD.load(Ordering::Acquire);
        // SAFETY: what was stored once is never freed.
        if let Some(held) = unsafe { current.as_ref() }
            && held.generation == generation
        {
            return held.paths.lock().unwrap_or_else(PoisonError::into_inner);
        }
        let new = Box::into_raw(Box::new(Held { generation, paths: Mutex::default() }));
        let swapped = HELD.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire);
        if swapped.is_err() {
            // SAFETY: nobody else has seen it.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time_and_the_note_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.lock");
        let lock = Lock::take(&path).unwrap().unwrap();
        assert_eq!(lock.noted(), None);
        lock.note(41).unwrap();
        lock.note(7).unwrap();
        assert!(Lock::take(&path).unwrap().is_none());
        drop(lock);
        let lock = Lock::take(&path).unwrap().unwrap();
        assert_eq!(lock.noted(), Some(7));
        lock.remove().unwrap();
        assert!(!path.exists());
    }
}
