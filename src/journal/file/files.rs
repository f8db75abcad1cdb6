//! The files of a journal: what lies beside it, what it is known by, and how its name is kept.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// How the names end of what SQLite keeps beside a journal's file: the last one while it makes it.
pub const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Removes a journal's file, and what SQLite keeps beside it. What is beside it comes last: a new file of this name must not
/// meet it, and without the file it is known to be of no use.
pub fn remove_files(path: &Path) -> io::Result<()> {
    for end in [""].into_iter().chain(BESIDE) {
        let mut path = path.as_os_str().to_owned();
        path.push(end);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Has the disk keep the name of a file or directory and of all above it, whoever made them: what is synced in one is gone with
/// its name.
pub fn sync_names(path: &Path) -> io::Result<()> {
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

/// Which file a path names: its device and its number there.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}
