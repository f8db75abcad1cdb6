//! Room that a journal takes on the disk before it needs it, so that a full disk is never the end.
//!
//! Everything is written to SQLite's log first, and the log begins anew only once all that is in it has been copied into the
//! main file. If that could not grow then, nothing would ever work again: even to remove a write takes room in the log. So
//! the main file is made long enough before the log gets anything, and the log keeps a length that small steps fit in.

use std::{
    cell::{Cell, OnceCell},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// SQLite's default, which is what we use.
const PAGE: u64 = 4_096;

/// How much longer than needed the main file is made.
const AHEAD: u64 = 16 * PAGE;

/// What any small change may take beside its own size: the tree splits pages, and has pages of its own.
const SPLITS: u64 = 4 * PAGE;

/// What a row takes at most beside its texts.
const ROW: u64 = 100;

/// The length of the log that is always kept: some fifteen pages.
pub const LOG: u64 = 65_536;

/// How many writes may be removed at once where there is no room but that.
pub const FEW: usize = 32;

/// How many pages may be given back at once there.
pub const FEW_PAGES: i64 = 4;

/// The room of one open journal.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    /// Open from the first change on: a process may have many journals that only wait for their turn. To be closed after
    /// SQLite's own, because closing a file drops all locks that the process has on it.
    main: OnceCell<File>,
    /// Where the main file ends at most once everything is copied into it.
    end: Cell<u64>,
}

impl Room {
    /// That of the journal at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), main: OnceCell::new(), end: Cell::new(u64::MAX) }
    }

    /// Whether a row with texts of `bytes` fits into what was taken.
    pub fn fits(&self, bytes: usize) -> bool {
        // A page may be half empty.
        let end = self.end.get().saturating_add(2 * (bytes as u64 + ROW));
        // It is asked each time: when the log begins anew, SQLite cuts off what is not needed.
        let length = self.main.get().and_then(|main| length(main).ok());
        let fits = length.is_some_and(|length| end.saturating_add(SPLITS) <= length);
        if fits {
            self.end.set(end);
        }
        fits
    }

    /// Takes room for `pages` in the main file.
    pub fn take(&self, pages: u64) -> io::Result<()> {
        let end = pages * PAGE;
        let is_first = self.end.replace(end) == u64::MAX;
        let main = self.main()?;
        let had = length(main)?;
        if !is_first && had >= end + AHEAD / 2 {
            return Ok(());
        }
        // Where the disk has no room for that, the log may have it already.
        let _ = self.lengthen_log();
        let lengthened = lengthen(main, had, end + AHEAD);
        if length(main)? >= end { Ok(()) } else { lengthened }
    }

    fn main(&self) -> io::Result<&File> {
        if let Some(main) = self.main.get() {
            return Ok(main);
        }
        let main = OpenOptions::new().write(true).open(&self.path)?;
        Ok(self.main.get_or_init(|| main))
    }

    fn lengthen_log(&self) -> io::Result<()> {
        let mut path = self.path.as_os_str().to_owned();
        path.push("-wal");
        let log = OpenOptions::new().write(true).open(path)?;
        lengthen(&log, length(&log)?, LOG)
    }
}

fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// Zeros and no hole: a hole takes no room. SQLite looks at neither what is behind the last page nor what is behind the
/// last frame.
fn lengthen(file: &File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; AHEAD as usize] = [0; AHEAD as usize];
    let mut at = from;
    while at < to {
        let count = (to - at).min(AHEAD);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_there_and_is_used_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.journal");
        let length = |end: &str| std::fs::metadata(directory.path().join(end)).unwrap().len();
        std::fs::write(&path, [1; PAGE as usize]).unwrap();
        std::fs::write(directory.path().join("a.journal-wal"), []).unwrap();
        let room = Room::new(&path);
        assert!(!room.fits(0), "nothing was taken yet");
        room.take(3).unwrap();
        assert_eq!(length("a.journal"), 3 * PAGE + AHEAD);
        assert_eq!(length("a.journal-wal"), LOG);
        assert!(room.fits(10_000));
        assert!(room.fits(10_000));
        assert!(!room.fits(10_000));
        room.take(4).unwrap();
        assert_eq!(length("a.journal"), 3 * PAGE + AHEAD, "there is enough for now");
        std::fs::write(&path, [1; PAGE as usize]).unwrap();
        assert!(!room.fits(0), "SQLite has cut it off");
    }
}
