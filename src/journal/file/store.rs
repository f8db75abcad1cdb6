//! A journal's file: all SQL that is run on it, in a file for each thing it is about.
//!
//! SQLite, in WAL mode. One connection, used by one thread at a time, in the one process that owns the file.

mod cursors;
mod letters;
pub(in crate::journal) mod members;
pub(in crate::journal) mod opening;
pub(in crate::journal) mod schema;
mod writes;

use std::time::Duration;

use rusqlite::{Connection, Row};

use super::{
    error::Result,
    room::{LOG, Room},
};
use crate::sql::ReplicaSet;
use schema::VERSION;

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

impl Store {
    /// From now on steps wait so long for another tool's lock.
    pub fn wait_for_locks(&mut self, longest: Duration) {
        if self.patience != longest && self.connection.busy_timeout(longest).is_ok() {
            self.patience = longest;
        }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::settings::Durability;
    use super::{
        super::{
            body,
            room::{FEW, FEW_PAGES},
        },
        *,
    };
    use crate::{
        journal::memory::cursor::Cursor,
        write::{Moment, Write},
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
        let mut again = Store::open(&path, Durability::Process, opening::STARTING).unwrap();
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
