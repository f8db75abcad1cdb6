//! What can go wrong with a journal's file.

/// What the system may say of a file now, and not the next time.
const PASSING: [i32; 6] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSPC, libc::EDQUOT, libc::EIO];

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// There is no room for what is to be put there.
    #[error("{0}")]
    Room(#[from] std::io::Error),
    /// The journal is done with.
    #[error("it is closed")]
    Closed,
    /// It was made, and nothing was ever put into it.
    #[error("it is empty")]
    Empty,
    /// What it holds cannot be ours, or not any more.
    #[error("{0}")]
    Damaged(String),
}

impl StoreError {
    /// Whether it says something of the disk now, and nothing of what the file holds.
    pub fn is_passing(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, ReadOnly, SystemIoFailure,
        };
        let Self::Sqlite(error) = self else { return matches!(self, Self::Closed | Self::Room(_)) };
        let passing =
            [CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, ReadOnly, SystemIoFailure];
        error.sqlite_error_code().is_some_and(|code| passing.contains(&code))
    }

    /// Whether a file that cannot be opened for it may be opened later, though nothing of the file changes: another tool
    /// has a lock on it, or this process has too many files open.
    pub fn passes_by_itself(&self) -> bool {
        use rusqlite::ErrorCode::ReadOnly;
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() != Some(ReadOnly) && self.is_passing(),
            Self::Room(error) => error.raw_os_error().is_some_and(|code| PASSING.contains(&code)),
            Self::Closed | Self::Empty | Self::Damaged(_) => false,
        }
    }

    /// Whether it may come of a lack of room.
    pub fn is_full(&self) -> bool {
        use rusqlite::ErrorCode::{DiskFull, SystemIoFailure};
        match self {
            Self::Sqlite(error) => matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure)),
            Self::Room(_) => true,
            Self::Closed | Self::Empty | Self::Damaged(_) => false,
        }
    }
}

/// What may go wrong with the file.
pub type Result<T> = std::result::Result<T, StoreError>;

/// That a write is not as it was put in.
pub fn damaged(seq: u64) -> StoreError {
    StoreError::Damaged(format!("what it holds of write {seq} is not what was put in"))
}
