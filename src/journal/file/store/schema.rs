//! The tables of a journal's file, and how those of older versions become the newest.

use rusqlite::Connection;

use crate::journal::file::error::Result;

/// The version of the tables below. A newer one is refused, an older one is converted when it is opened.
pub const VERSION: i32 = 2;

/// `body` holds the statement's text where `many` is 0 and JSON where it is 1. `sum` is a CRC-32 of the row.
///
/// `in_use` is 1 from the opening to a clean end; a file of version 1 does not say (NULL). `gone` holds replicas that left the
/// settings, and the number of the last write at that time; those with something pending are in `replicas`, too.
pub const SCHEMA: &str = "
CREATE TABLE origin (id TEXT NOT NULL, named INTEGER NOT NULL, created REAL NOT NULL, last INTEGER NOT NULL, in_use INTEGER);
CREATE TABLE replicas (bit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, position INTEGER NOT NULL, state TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE gone (name TEXT PRIMARY KEY, position INTEGER NOT NULL, state TEXT NOT NULL, sum INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE writes (seq INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, targets INTEGER NOT NULL, expected INTEGER,
    submitted REAL NOT NULL, many INTEGER NOT NULL, sum INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE dead_letters (id INTEGER PRIMARY KEY, replica TEXT NOT NULL, origin TEXT NOT NULL, seq INTEGER NOT NULL,
    code TEXT NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL, time REAL NOT NULL, expected INTEGER,
    body TEXT NOT NULL, UNIQUE (replica, origin, seq));
";

/// Version 1 gave a replica that left the settings a position past everything, and nothing that says why: put back, it got
/// nothing for ever. Without its row it comes back as one that lacks what there ever was.
const FROM_1: &str = "
ALTER TABLE origin ADD COLUMN in_use INTEGER;
CREATE TABLE gone (name TEXT PRIMARY KEY, position INTEGER NOT NULL, state TEXT NOT NULL, sum INTEGER NOT NULL, last INTEGER NOT NULL);
INSERT INTO gone SELECT name, position, state, sum, 0 FROM replicas WHERE position = 9223372036854775807 AND json_valid(state)
    AND json_extract(state, '$.stopped') IS NULL AND NOT coalesce(json_extract(state, '$.finished'), 0)
    AND (SELECT named FROM origin);
DELETE FROM replicas WHERE name IN (SELECT name FROM gone);
DELETE FROM gone WHERE (SELECT last FROM origin) = 0 AND NOT EXISTS (SELECT 1 FROM writes);
";

/// Converts the tables of an older version, in one step.
pub fn upgrade(connection: &Connection) -> Result<()> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version >= VERSION {
        return Ok(());
    }
    let converted =
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {FROM_1} PRAGMA user_version={VERSION}; COMMIT"));
    if converted.is_err() && !connection.is_autocommit() {
        // The file is as it was, whether or not this works: the next opening undoes what is not committed.
        let _ = connection.execute_batch("ROLLBACK");
    }
    Ok(converted?)
}
