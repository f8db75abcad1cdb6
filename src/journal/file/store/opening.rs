//! How a journal's file is made, opened and copied, and what it says of itself.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{
    Origin, Store,
    schema::{SCHEMA, VERSION, upgrade},
};
use crate::journal::file::{
    error::{Result, StoreError},
    header::{APPLICATION_ID, inspect_header, peeked},
    private,
    room::Room,
    settings::Durability,
};

/// How long the opening of this process's own file waits for a lock that another tool holds on it.
pub const STARTING: Duration = Duration::from_secs(5);

impl Store {
    /// Creates the file of a new origin, which counts as younger than one made at `after`, whatever the clock says.
    pub fn create(path: &Path, origin: Origin<'_>, durability: Durability, after: f64) -> Result<Self> {
        private::create_file(path)?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, durability, STARTING)?;
        connection.execute_batch(&format!(
            "BEGIN; {SCHEMA} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION};"
        ))?;
        let Origin { id, named } = origin;
        let created = now().max(after + 0.001);
        connection.execute("INSERT INTO origin VALUES (?1, ?2, ?3, 0, 1)", params![id, named, created])?;
        // The header goes to the main file, where it can be read without opening the database.
        connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
        let room = Room::new(path);
        Ok(Self {
            connection,
            room,
            origin: id.into(),
            named,
            bits: Vec::new(),
            same: true,
            patience: STARTING,
        })
    }

    /// Opens a file that was found, and waits so long for another tool's lock. Nothing is written before it is known to be
    /// ours.
    pub fn open(path: &Path, durability: Durability, patience: Duration) -> Result<Self> {
        inspect_header(path)?;
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, durability, patience)?;
        upgrade(&connection)?;
        let (origin, named) = connection
            .query_row("SELECT id, named FROM origin", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or_else(|| StoreError::Damaged("it does not say whose writes it holds".into()))?;
        let room = Room::new(path);
        Ok(Self { connection, room, origin, named, bits: Vec::new(), same: true, patience })
    }

    /// Whose writes the file at `path` holds, without changing it: it may not be for us to open.
    pub fn peek(path: &Path) -> Result<String> {
        peeked(path, "SELECT id FROM origin")
    }

    /// When the journal at `path` was made, in seconds since 1970, without changing it.
    pub fn peek_created(path: &Path) -> Result<f64> {
        peeked(path, "SELECT created FROM origin")
    }

    /// Copies all that is in it to a new file.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        let name = path.to_str().ok_or_else(|| StoreError::Damaged("its path is not UTF-8".into()))?;
        private::create_file(path)?;
        self.connection.execute("VACUUM INTO ?1", [name])?;
        Ok(())
    }

    /// Whose writes it holds.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether the user named it, and may go on with it.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// When it was created, in seconds since 1970.
    pub fn created(&self) -> Result<f64> {
        Ok(self.connection.query_row("SELECT created FROM origin", [], |row| row.get(0))?)
    }

    /// The last write that was ever in it.
    pub fn last(&self) -> Result<u64> {
        let sql = "SELECT max(last, (SELECT coalesce(max(seq), 0) FROM writes)) FROM origin";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| Ok(row.get::<_, i64>(0)? as u64))?)
    }

    /// Gives no number up to `seq` again.
    pub fn skip_to(&self, seq: u64) -> Result<()> {
        self.connection.execute("UPDATE origin SET last = max(last, ?1)", [seq as i64])?;
        Ok(())
    }

    /// Whether nothing in it is of any use any more.
    pub fn is_spent(&self) -> Result<bool> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM dead_letters) \
                   AND NOT EXISTS (SELECT 1 FROM writes WHERE seq > (SELECT min(position) FROM replicas)) \
                   AND NOT EXISTS (SELECT 1 FROM replicas WHERE json_extract(state, '$.stopped') IS NOT NULL)";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Notes that the file is in use, or that its process ended as it should. Before that: whether the last one that had it
    /// ended without saying so.
    pub fn set_in_use(&self, in_use: bool) -> Result<bool> {
        let before: Option<bool> = self
            .connection
            .query_row("SELECT in_use FROM origin", [], |row| row.get(0))
            .optional()?
            .flatten();
        if before != Some(in_use) {
            self.connection.execute("UPDATE origin SET in_use = ?1", [in_use])?;
        }
        Ok(before == Some(true))
    }

    /// Closes the file with everything in its main part.
    pub fn close(self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        let _ = self.connection.close();
    }
}

fn connect(path: &Path, flags: OpenFlags, durability: Durability, patience: Duration) -> Result<Connection> {
    private::narrow(path);
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(patience)?;
    let sync = if durability == Durability::Disk { "FULL" } else { "NORMAL" };
    connection.execute_batch(&format!(
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous={sync}; \
         PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=2000; PRAGMA cell_size_check=ON"
    ))?;
    // More than there are statements in `store`: each is prepared once.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
