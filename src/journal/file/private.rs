//! Files that nobody but their owner may read: they hold the application's SQL, with the values in it.
//!
//! The umask is not relied on, and modes are set by path: opening a file to do so would, when it is closed, drop the record
//! locks that this process has on it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::files::BESIDE;

/// What the owner may do with a file.
const FILE: u32 = 0o600;

/// What the owner may do with a directory.
const DIRECTORY: u32 = 0o700;

/// What all others may do.
const OTHERS: u32 = 0o077;

/// A directory that other users may write to, each their own files.
const SHARED: u32 = 0o1000;

/// Makes a directory, and those above it. One that was there is narrowed if nothing but journals is in it: any other may be
/// meant for more than us.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let existed = path.is_dir();
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)?;
    if !existed {
        return fs::set_permissions(path, Permissions::from_mode(DIRECTORY));
    }
    if holds_journals_only(path)? {
        narrow_to(path, DIRECTORY);
    }
    Ok(())
}

fn holds_journals_only(path: &Path) -> io::Result<bool> {
    const OURS: [&str; 5] = [".journal", ".journal-wal", ".journal-shm", ".journal-journal", ".lock"];
    let names = fs::read_dir(path)?.flatten().map(|entry| entry.file_name());
    let mut ours = names.map(|name| OURS.iter().any(|end| name.to_string_lossy().ends_with(end)));
    Ok(fs::metadata(path)?.mode() & SHARED == 0 && ours.next() == Some(true) && ours.all(|ours| ours))
}

/// Makes a journal's file, so that SQLite finds one with this mode: its log gets the same.
pub fn create_file(path: &Path) -> io::Result<()> {
    create(path).map(drop)
}

fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE).open(path)?;
    // A umask may have taken from the owner, too.
    fs::set_permissions(path, Permissions::from_mode(FILE))?;
    Ok(file)
}

/// Opens a file, or makes it.
pub fn open(path: &Path) -> io::Result<File> {
    match create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    narrow_to(path, FILE);
    // Whoever removed it meanwhile has ended: then it is made.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE).open(path)
}

/// Narrows a journal's file that was found, and what SQLite has put beside it.
pub fn narrow(path: &Path) {
    for end in [""].into_iter().chain(BESIDE) {
        let mut path = path.as_os_str().to_owned();
        path.push(end);
        narrow_to(&PathBuf::from(path), FILE);
    }
}

/// Takes from the others what they may do. Who does not own the file cannot, and has not made it either.
fn narrow_to(path: &Path, mode: u32) {
    if fs::metadata(path).is_ok_and(|data| data.mode() & OTHERS != 0) {
        let _ = fs::set_permissions(path, Permissions::from_mode(mode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn widen(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_the_owners_alone() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("a/b");
        create_directory(&inner).unwrap();
        assert_eq!((mode(&inner), mode(&top.path().join("a"))), (0o700, 0o700));
        let file = inner.join("x.journal");
        create_file(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert!(create_file(&file).is_err());
        for end in ["", "-wal", "-shm"] {
            let path = inner.join(format!("x.journal{end}"));
            fs::write(&path, "").unwrap();
            widen(&path, 0o664);
        }
        narrow(&file);
        for end in ["", "-wal", "-shm"] {
            assert_eq!(mode(&inner.join(format!("x.journal{end}"))), 0o600, "{end}");
        }
    }

    #[test]
    fn a_directory_that_may_be_meant_for_others_stays_as_it_is() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("d");
        create_directory(&directory).unwrap();
        widen(&directory, 0o755);
        create_directory(&directory).unwrap();
        assert_eq!(mode(&directory), 0o755, "it is empty");
        fs::write(directory.join("a.lock"), "").unwrap();
        fs::write(directory.join("notes.txt"), "").unwrap();
        create_directory(&directory).unwrap();
        assert_eq!(mode(&directory), 0o755, "something else is in it");
        fs::remove_file(directory.join("notes.txt")).unwrap();
        create_directory(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        widen(&directory, 0o1777);
        create_directory(&directory).unwrap();
        assert_eq!(mode(&directory), 0o1777, "it is everybody's");
    }
}
