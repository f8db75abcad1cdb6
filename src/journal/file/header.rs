//! What a file is before it is opened, without a change of it: it may not be for us to open.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use rusqlite::{Connection, OpenFlags, types::FromSql};

use super::error::{Result, StoreError};
use crate::journal::file::store::schema::VERSION;

/// The number in the file's header that says it is a journal of ours: "aftq".
pub const APPLICATION_ID: i32 = 0x6166_7471;

/// Says what a file is before anything is done to it: opening it with SQLite may change it.
/// The header: <https://www.sqlite.org/fileformat2.html#the_database_header>.
pub fn inspect_header(path: &Path) -> Result<()> {
    let mut header = [0; 100];
    let read = std::fs::File::open(path).and_then(|mut file| read_up_to(&mut file, &mut header));
    let length = read?;
    // Zeros are what is there of a file whose length reached the disk, and nothing else before the power failed.
    if header[..length].iter().all(|&byte| byte == 0) {
        return Err(StoreError::Empty);
    }
    if length < header.len() || !header.starts_with(b"SQLite format 3\0") {
        return Err(StoreError::Damaged("it is not a SQLite database".into()));
    }
    let number = |at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (version, application) = (number(60), number(68));
    match application {
        APPLICATION_ID => {}
        // Our own, of a process that ended while it made it.
        0 if version == 0 && number(40) == 0 => return Err(StoreError::Empty),
        _ => {
            return Err(StoreError::Damaged(
                "it is a SQLite database, but not a journal of afterquery".into(),
            ));
        }
    }
    if version > VERSION {
        return Err(StoreError::Damaged(format!(
            "it has format {version}, and this version of afterquery reads formats up to {VERSION}; deliver it with the \
             version that wrote it, or a newer one"
        )));
    }
    Ok(())
}

/// What `sql` gives, without a change of the file.
pub fn peeked<T: FromSql>(path: &Path, sql: &str) -> Result<T> {
    let read = |how| Ok(peeking(path, how)?.query_row(sql, [], |row| row.get(0))?);
    // Its process, or the power, may have ended while the log was copied into it: then the log says how it is.
    read("immutable=1").or_else(|error| if has_log(path) { read("mode=ro") } else { Err(error) })
}

/// A connection that changes nothing: `how` says whether it sees what is in the main file alone.
fn peeking(path: &Path, how: &str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let mut name = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => name.extend(format!("%{byte:02x}").bytes()),
            byte => name.push(byte),
        }
    }
    let uri = [b"file:".as_slice(), &name, b"?", how.as_bytes()].concat();
    Ok(Connection::open_with_flags(Path::new(OsStr::from_bytes(&uri)), flags)?)
}

/// Whether there is anything in the log beside a journal's file.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|found| found.len() > 0)
}

fn read_up_to(file: &mut impl std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            n => length += n,
        }
    }
    Ok(length)
}
