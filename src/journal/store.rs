//! A journal's file: all SQL that is run on it.
//!
//! SQLite, in WAL mode. One connection, used by one thread at a time, in the one process that owns the file.

mod members;
mod schema;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, types::FromSql};

pub use self::members::Gone;
use self::schema::{SCHEMA, VERSION, upgrade};
use super::{
    body,
    cursor::{Cursor, State},
    letter::{DeadLetter, LetterKey},
    private,
    queue::Pending,
    room::{LOG, Room},
};
use crate::{
    config::Durability,
    moment::Moment,
    reason::{Reason, ReasonCode},
    sql::ReplicaSet,
    write::{Body, Write},
};

/// The number in the file's header that says it is a journal of ours: "aftq".
const APPLICATION_ID: i32 = 0x6166_7471;

/// The position of a replica that gets nothing of this journal any more.
pub const NOTHING_MORE: u64 = i64::MAX as u64;

/// How long the opening of this process's own file waits for a lock that another tool holds on it.
pub const STARTING: Duration = Duration::from_secs(5);

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

type Result<T> = std::result::Result<T, StoreError>;

/// The open file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    room: Room,
    origin: String,
    named: bool,
    /// For each replica of the settings, its bit in the file; one that the file does not know has none.
    bits: Vec<Option<u8>>,
    /// Whether the bits are the indices, so that sets need no translation.
    same: bool,
    /// How long a step waits for another tool's lock.
    patience: Duration,
}

/// Who numbers the writes of a new file.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The identity.
    pub id: &'a str,
    /// Whether the user named it.
    pub named: bool,
}

/// What a file that was found holds.
#[derive(Debug)]
pub struct Found {
    /// The last write that was ever in it.
    pub last: u64,
    /// How far each replica is, in the order of the settings.
    pub cursors: Vec<Cursor>,
    /// What each still has to get.
    pub lag: Vec<Pending>,
    /// Replicas that are not among the settings any more and have not got everything.
    pub gone: Vec<Gone>,
    /// Whether there are rejected writes in it.
    pub has_letters: bool,
}

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

    /// From now on steps wait so long for another tool's lock.
    pub fn wait_for_locks(&mut self, longest: Duration) {
        if self.patience != longest && self.connection.busy_timeout(longest).is_ok() {
            self.patience = longest;
        }
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

    /// Appends writes, removes the dead letters they replay, and keeps how far replicas are.
    pub fn insert<'a>(
        &mut self,
        writes: impl ExactSizeIterator<Item = &'a Write> + Clone,
        replayed: &[LetterKey],
        cursors: impl ExactSizeIterator<Item = (u8, &'a Cursor)>,
    ) -> Result<()> {
        let is_alone = writes.len() == 1 && replayed.is_empty() && cursors.len() == 0;
        if is_alone && writes.clone().all(|write| self.fits(write)) {
            // One statement is a transaction by itself, and cheaper so.
            return self.insert_rows(writes);
        }
        self.grow(|store| {
            store.insert_rows(writes)?;
            store.delete_letters(replayed)?;
            store.save_cursors(cursors)
        })
    }

    fn fits(&self, write: &Write) -> bool {
        body::plain(&write.body, write.body.targets()).is_some_and(|sql| self.room.fits(sql.len()))
    }

    fn save_cursors<'a>(&self, cursors: impl IntoIterator<Item = (u8, &'a Cursor)>) -> Result<()> {
        cursors.into_iter().try_for_each(|(index, cursor)| {
            self.save_index(usize::from(index), cursor.position, &state_of(cursor))
        })
    }

    fn insert_rows<'a>(&self, writes: impl IntoIterator<Item = &'a Write>) -> Result<()> {
        let sql = "INSERT INTO writes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let mut statement = self.connection.prepare_cached(sql)?;
        for write in writes {
            let json;
            let (many, text) = match body::plain(&write.body, write.body.targets()) {
                Some(sql) => (false, sql),
                None => {
                    json = body::to_json(&write.body, |set| self.to_file(set));
                    (true, json.as_str())
                }
            };
            let (seq, targets) = (write.seq as i64, self.to_file(write.body.targets()) as i64);
            statement.execute(params![
                seq,
                write.bytes() as i64,
                targets,
                write.expected(),
                now() - write.submitted.elapsed().as_secs_f64(),
                many,
                sum_of(&[seq, targets, write.expected().unwrap_or(-1), i64::from(many)], text),
                text,
            ])?;
        }
        Ok(())
    }

    /// The writes after number `after` and before number `before`, at most `count`, up to a gap or a damaged one. It fails
    /// where that is the first. `open` are the replicas that a write of a number is still open for.
    pub fn load(
        &self,
        after: u64,
        before: u64,
        count: usize,
        open: impl Fn(u64) -> ReplicaSet,
    ) -> Result<Vec<Write>> {
        let sql = "SELECT seq, bytes, targets, expected, submitted, many, sum, body FROM writes \
                   WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![after as i64, before as i64, count as i64])?;
        let mut writes = Vec::new();
        let mut expected = after + 1;
        let result = loop {
            match rows.next() {
                Ok(Some(row)) => match self.read_write(row, &open) {
                    Ok(write) if write.seq == expected => writes.push(write),
                    Ok(write) => break Err(missing(expected, write.seq - 1)),
                    Err(error) => break Err(error),
                },
                Ok(None) => break Err(missing(expected, before - 1)),
                Err(error) => break Err(error.into()),
            }
            expected += 1;
            if expected == before || writes.len() == count {
                break Ok(());
            }
        };
        // What is in front of the damage is good.
        if writes.is_empty() { result.map(|()| writes) } else { Ok(writes) }
    }

    fn read_write(&self, row: &Row<'_>, open: impl Fn(u64) -> ReplicaSet) -> Result<Write> {
        let seq = row.get::<_, i64>(0)? as u64;
        let in_file = row.get::<_, i64>(2).map_err(|_| damaged(seq))?;
        let targets = self.to_here(in_file as u64);
        let text = row.get_ref(7)?.as_str().map_err(|_| damaged(seq))?;
        let expected: Option<i64> = row.get(3).map_err(|_| damaged(seq))?;
        let many: bool = row.get(5).map_err(|_| damaged(seq))?;
        let sum = sum_of(&[seq as i64, in_file, expected.unwrap_or(-1), i64::from(many)], text);
        if row.get(6) != Ok(sum) {
            return Err(damaged(seq));
        }
        let body = if many {
            let mut body = body::from_json(text, |set| self.to_here(set)).ok_or_else(|| damaged(seq))?;
            if matches!(body, Body::Unsendable(_)) {
                body.retarget(targets);
            }
            body
        } else {
            body::from_plain(text, targets)
        };
        let bytes = row.get::<_, i64>(1)? as usize;
        Ok(Write::new(seq, moment(row.get(4)?), body, expected, bytes, targets & open(seq)))
    }

    /// The number of the newest write for replica number `index`.
    pub fn newest_for(&self, index: usize) -> Result<Option<u64>> {
        let Some(bit) = self.bits[index] else { return Ok(None) };
        let sql = "SELECT seq FROM writes WHERE targets & (1 << ?1) ORDER BY seq DESC LIMIT 1";
        let seq = self.connection.prepare_cached(sql)?.query_row([bit], |row| row.get::<_, i64>(0));
        Ok(seq.optional()?.map(|seq| seq as u64))
    }

    /// When the first write after number `position` was handed over that is for replica number `index`.
    pub fn oldest_for(&self, index: usize, position: u64) -> Result<Option<Moment>> {
        let Some(bit) = self.bits[index] else { return Ok(None) };
        let sql = "SELECT submitted FROM writes WHERE seq > ?2 AND targets & (1 << ?1) ORDER BY seq LIMIT 1";
        let params = params![bit, position.min(NOTHING_MORE) as i64];
        let at = self.connection.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?;
        Ok(at.map(moment))
    }

    fn cursor(&self, index: usize) -> Result<Cursor> {
        let Some(bit) = self.bits[index] else {
            let state = State { finished: true, ..State::default() };
            return Ok(Cursor { position: self.last()?, state });
        };
        self.cursor_of_bit(bit)
    }

    fn cursor_of_bit(&self, bit: u8) -> Result<Cursor> {
        let sql = "SELECT position, state, sum FROM replicas WHERE bit = ?1";
        let (position, state, sum): (i64, String, u32) = self
            .connection
            .prepare_cached(sql)?
            .query_row([bit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if sum != sum_of(&[position], &state) {
            return Err(StoreError::Damaged("how far a replica is has changed in it".into()));
        }
        let state = serde_json::from_str::<State>(&state)
            .map_err(|error| StoreError::Damaged(format!("how far a replica is cannot be read: {error}")))?;
        Ok(Cursor { position: position as u64, state })
    }

    /// Keeps how far a replica is.
    pub fn save_cursor(&self, index: usize, cursor: &Cursor) -> Result<()> {
        let state = state_of(cursor);
        if self.room.fits(state.len()) {
            return self.save_index(index, cursor.position, &state);
        }
        self.grow(|store| store.save_index(index, cursor.position, &state))
    }

    fn save_index(&self, index: usize, position: u64, state: &str) -> Result<()> {
        self.bits[index].map_or(Ok(()), |bit| self.save_bit(bit, position, state))
    }

    fn save_bit(&self, bit: u8, position: u64, state: &str) -> Result<()> {
        let sql = "UPDATE replicas SET position = ?2, state = ?3, sum = ?4 WHERE bit = ?1";
        let position = position.min(NOTHING_MORE) as i64;
        let sum = sum_of(&[position], state);
        self.connection.prepare_cached(sql)?.execute(params![bit, position, state, sum])?;
        Ok(())
    }

    /// Removes up to `count` writes that every replica is past. How many there were, and the number of the last that is
    /// gone.
    pub fn collect(&mut self, count: usize) -> Result<(usize, u64)> {
        self.begin()?;
        let result = self.collect_rows(count);
        self.end(result)
    }

    fn collect_rows(&self, count: usize) -> Result<(usize, u64)> {
        // The last number has to outlive its row: numbers are never given twice.
        let last = self.last()?;
        self.connection
            .prepare_cached("UPDATE origin SET last = ?1 WHERE last < ?1")?
            .execute([last as i64])?;
        let sql = "DELETE FROM writes WHERE seq <= (SELECT min(position) FROM replicas) \
                   AND seq < (SELECT min(seq) FROM writes) + ?1";
        let removed = self.connection.prepare_cached(sql)?.execute([count as i64])?;
        let first: Option<i64> =
            self.connection.prepare_cached("SELECT min(seq) FROM writes")?.query_row([], |row| row.get(0))?;
        Ok((removed, first.map_or(last, |first| first as u64 - 1)))
    }

    /// Keeps a rejected write, together with how far its replica is then.
    pub fn bury(&mut self, letter: &DeadLetter, index: usize, cursor: &Cursor) -> Result<()> {
        self.grow(|store| {
            store.insert_letter(letter)?;
            store.save_index(index, cursor.position, &state_of(cursor))
        })
    }

    fn insert_letter(&self, letter: &DeadLetter) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO dead_letters \
                   (replica, origin, seq, code, message, attempts, time, expected, body) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let DeadLetter { key, reason, attempts, time, expected, body } = letter;
        self.connection.prepare_cached(sql)?.execute(params![
            key.replica,
            key.origin,
            key.seq as i64,
            reason.code.as_str(),
            &*reason.message,
            attempts,
            time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            expected,
            body::to_json(body, |_| 0),
        ])?;
        Ok(())
    }

    /// Takes over dead letters of another journal. Those it has already stay as they are.
    pub fn insert_letters(&mut self, letters: &[DeadLetter]) -> Result<()> {
        self.grow(|store| letters.iter().try_for_each(|letter| store.insert_letter(letter)))
    }

    /// The dead letters, oldest first.
    pub fn letters(&self) -> Result<Vec<DeadLetter>> {
        let sql = "SELECT replica, origin, seq, code, message, attempts, time, expected, body \
                   FROM dead_letters ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut letters = Vec::new();
        while let Some(row) = rows.next()? {
            letters.push(read_letter(row)?);
        }
        Ok(letters)
    }

    /// Whether there are dead letters.
    pub fn has_letters(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM dead_letters)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Removes the dead letters of a replica that was synced from a copy of the primary: what it rejected is in the copy.
    pub fn delete_letters_of(&self, replica: &str) -> Result<usize> {
        let sql = "DELETE FROM dead_letters WHERE replica = ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([replica])?)
    }

    /// Copies all that is in it to a new file.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        let name = path.to_str().ok_or_else(|| StoreError::Damaged("its path is not UTF-8".into()))?;
        private::create_file(path)?;
        self.connection.execute("VACUUM INTO ?1", [name])?;
        Ok(())
    }

    /// When the journal at `path` was made, in seconds since 1970, without changing it.
    pub fn peek_created(path: &Path) -> Result<f64> {
        peeked(path, "SELECT created FROM origin")
    }

    /// Removes dead letters. How many of them were there.
    pub fn delete_letters(&self, keys: &[LetterKey]) -> Result<usize> {
        let sql = "DELETE FROM dead_letters WHERE replica = ?1 AND origin = ?2 AND seq = ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut count = 0;
        for key in keys {
            count += statement.execute(params![key.replica, key.origin, key.seq as i64])?;
        }
        Ok(count)
    }

    /// Removes the oldest dead letters beyond `max`. How many there were.
    pub fn drop_letters(&self, max: usize) -> Result<usize> {
        let sql = "DELETE FROM dead_letters WHERE id <= (SELECT id FROM dead_letters ORDER BY id DESC LIMIT 1 OFFSET ?1)";
        Ok(self.connection.prepare_cached(sql)?.execute([max as i64])?)
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

    /// Gives room of removed writes back to the file system, at most `pages` at a time. Whether there is more.
    pub fn shrink(&self, pages: i64) -> Result<bool> {
        let free: i64 = self.connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > 0 {
            let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            // Each row is a page.
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(free > pages)
    }

    /// Begins the log anew, so that what it took is free again. Whether that worked.
    pub fn make_room(&self) -> bool {
        let counts = |row: &Row<'_>| Ok((row.get(1)?, row.get(2)?));
        let counts = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], counts);
        let Ok::<(i64, i64), _>((log, copied)) = counts else { return false };
        // The first step that overwrites the log cuts it, but to no less than the next steps need. One that changes nothing
        // would not be written.
        let cut = format!(
            "PRAGMA journal_size_limit={LOG}; PRAGMA user_version={VERSION}; PRAGMA journal_size_limit=-1"
        );
        copied == log && self.connection.execute_batch(&cut).is_ok()
    }

    /// Closes the file with everything in its main part.
    pub fn close(self) {
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        let _ = self.connection.close();
    }

    /// Makes in one step a change that may need more pages.
    fn grow<T>(&self, change: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.begin()?;
        let result = change(self).and_then(|done| self.take_room().map(|()| done));
        self.end(result)
    }

    fn take_room(&self) -> Result<()> {
        let pages: i64 =
            self.connection.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?;
        Ok(self.room.take(pages as u64)?)
    }

    fn begin(&self) -> Result<()> {
        Ok(self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)?)
    }

    fn end<T>(&self, result: Result<T>) -> Result<T> {
        let ended = match &result {
            Ok(_) => self.connection.prepare_cached("COMMIT")?.execute([]),
            Err(_) => Ok(0),
        };
        if (result.is_err() || ended.is_err()) && !self.connection.is_autocommit() {
            // What failed may have ended the transaction already.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        ended?;
        result
    }

    fn to_file(&self, set: ReplicaSet) -> ReplicaSet {
        if self.same {
            return set;
        }
        let bits = self.bits.iter().enumerate();
        bits.filter(|(index, _)| set & (1 << index) != 0).filter_map(|(_, bit)| bit.map(|bit| 1 << bit)).sum()
    }

    fn to_here(&self, set: ReplicaSet) -> ReplicaSet {
        let bits = self.bits.iter().enumerate();
        bits.filter(|(_, bit)| bit.is_some_and(|bit| set & (1 << bit) != 0))
            .map(|(index, _)| 1 << index)
            .sum()
    }
}

fn state_of(cursor: &Cursor) -> String {
    serde_json::to_string(&cursor.state).unwrap_or_default()
}

fn read_letter(row: &Row<'_>) -> Result<DeadLetter> {
    let seq = row.get::<_, i64>(2)? as u64;
    let code = ReasonCode::named(&row.get::<_, String>(3)?).ok_or_else(|| damaged(seq))?;
    let body = body::from_json(row.get_ref(8)?.as_str().map_err(|_| damaged(seq))?, |_| 0);
    Ok(DeadLetter {
        key: LetterKey { replica: row.get(0)?, origin: row.get(1)?, seq },
        reason: Reason::new(code, row.get::<_, String>(4)?),
        attempts: row.get(5)?,
        time: UNIX_EPOCH + Duration::try_from_secs_f64(row.get(6)?).unwrap_or_default(),
        expected: row.get(7)?,
        body: body.ok_or_else(|| damaged(seq))?,
    })
}

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

/// How the names end of what SQLite keeps beside a journal's file: the last one while it makes it.
pub const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Removes a journal's file, and what SQLite keeps beside it. What is beside it comes last: a new file of this name must not
/// meet it, and without the file it is known to be of no use.
pub fn remove_files(path: &Path) -> std::io::Result<()> {
    for end in [""].into_iter().chain(BESIDE) {
        let mut path = path.as_os_str().to_owned();
        path.push(end);
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What `sql` gives, without a change of the file.
fn peeked<T: FromSql>(path: &Path, sql: &str) -> Result<T> {
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

fn connect(path: &Path, flags: OpenFlags, durability: Durability, patience: Duration) -> Result<Connection> {
    private::narrow(path);
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(patience)?;
    let sync = if durability == Durability::Disk { "FULL" } else { "NORMAL" };
    connection.execute_batch(&format!(
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous={sync}; \
         PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=2000; PRAGMA cell_size_check=ON"
    ))?;
    // More than there are statements below: each is prepared once.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A check sum of a row. SQLite has none in its pages, and a flipped bit must neither reach a replica as SQL nor hide a write.
fn sum_of(numbers: &[i64], text: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
    hasher.update(text.as_bytes());
    hasher.finalize()
}

fn damaged(seq: u64) -> StoreError {
    StoreError::Damaged(format!("what it holds of write {seq} is not what was put in"))
}

fn missing(first: u64, last: u64) -> StoreError {
    StoreError::Damaged(format!("writes {first} to {last} are missing from it"))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A time of day as a moment of this process. One in the future, after a clock was set back, is now.
fn moment(seconds: f64) -> Moment {
    Moment::ago(Duration::try_from_secs_f64(now() - seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{
        super::room::{FEW, FEW_PAGES},
        *,
    };

    fn write(seq: u64, sql: &str) -> Write {
        Write::new(seq, Moment::now(), body::from_plain(sql, 0b11), Some(1), 100, 0b11)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn store(directory: &Path) -> Store {
        Store::create(
            &directory.join("a.journal"),
            Origin { id: "a", named: false },
            Durability::Process,
            0.0,
        )
        .unwrap()
    }

    #[test]
    fn what_is_inserted_is_loaded_and_collected_once_all_are_past_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        store.match_replicas(&names(&["one", "two"]), true, usize::MAX).unwrap();
        let writes: Vec<_> = (1..=5).map(|seq| write(seq, "SELECT 'é'")).collect();
        store.insert(writes.iter(), &[], [].into_iter()).unwrap();
        let loaded = store.load(1, 5, 10, |_| 0b10).unwrap();
        assert_eq!(loaded.iter().map(|w| w.seq).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(loaded[0].body, writes[1].body);
        assert_eq!(loaded[0].settlement.open(), 0b10);
        store.save_cursor(0, &Cursor { position: 4, ..Cursor::default() }).unwrap();
        assert_eq!(store.collect(10).unwrap(), (0, 0));
        store.save_cursor(1, &Cursor { position: 5, ..Cursor::default() }).unwrap();
        assert_eq!(store.collect(3).unwrap(), (3, 3));
        assert_eq!(store.collect(3).unwrap(), (1, 4));
        assert!(store.load(2, 5, 10, |_| 1).is_err());
        assert_eq!(store.last().unwrap(), 5);
        assert!(!store.is_spent().unwrap());
        store.save_cursor(0, &Cursor { position: 5, ..Cursor::default() }).unwrap();
        assert_eq!(store.collect(3).unwrap(), (1, 5));
        assert!(store.is_spent().unwrap());
        assert_eq!(store.last().unwrap(), 5);
    }

    #[test]
    fn replicas_keep_their_bits_when_the_settings_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.journal");
        let mut first = store(directory.path());
        first.match_replicas(&names(&["one", "two"]), true, usize::MAX).unwrap();
        first.insert([write(1, "x")].iter(), &[], [].into_iter()).unwrap();
        first.close();
        let mut again = Store::open(&path, Durability::Process, STARTING).unwrap();
        let found = again.match_replicas(&names(&["three", "two"]), true, usize::MAX).unwrap();
        assert_eq!(found.gone.len(), 1);
        assert_eq!((found.gone[0].name.as_str(), found.gone[0].pending.writes), ("one", 1));
        assert_eq!(found.lag.iter().map(|lag| lag.writes).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(again.load(0, 2, 9, |_| !0).unwrap()[0].body.targets(), 0b10);
    }

    fn length(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().len()
    }

    /// How much of the log is used.
    fn used(store: &Store) -> u64 {
        let frames = |row: &Row<'_>| row.get::<_, i64>(1);
        32 + store.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], frames).unwrap() as u64 * 4_120
    }

    #[test]
    fn the_main_file_has_room_for_all_that_is_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        store.match_replicas(&names(&["one"]), true, usize::MAX).unwrap();
        for seq in 1..=300 {
            // Alone and with others, small and large, and the longest states.
            let sql = "x".repeat(seq as usize % 7 * 1_500);
            let cursors = vec![(0, Cursor { position: seq, ..Cursor::default() }); seq as usize % 3];
            store
                .insert([write(seq, &sql)].iter(), &[], cursors.iter().map(|(at, cursor)| (*at, cursor)))
                .unwrap();
            let pages: i64 = store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            assert!(length(&directory.path().join("a.journal")) >= pages as u64 * 4_096, "{seq}");
            if seq == 150 {
                assert!(store.make_room());
            }
        }
    }

    #[test]
    fn what_may_be_done_without_room_fits_into_the_log_that_is_kept() {
        for size in [20, 300, 600, 1_000, 1_500, 2_500, 10_000, 40_000] {
            let directory = tempfile::tempdir().unwrap();
            let mut store = store(directory.path());
            store.match_replicas(&names(&["one"]), true, usize::MAX).unwrap();
            let sql = "x".repeat(size);
            let writes: Vec<_> = (1..=500).map(|seq| write(seq, &sql)).collect();
            store.insert(writes.iter(), &[], [].into_iter()).unwrap();
            store.save_cursor(0, &Cursor { position: 400, ..Cursor::default() }).unwrap();
            for _ in 0..10 {
                assert!(store.make_room());
                assert_eq!(length(&directory.path().join("a.journal-wal")), LOG, "{size}");
                store.collect(FEW).unwrap();
                assert!(used(&store) <= LOG, "{size}: {}", used(&store));
                assert!(store.make_room());
                store.shrink(FEW_PAGES).unwrap();
                assert!(used(&store) <= LOG, "{size}: {}", used(&store));
            }
        }
    }
}
