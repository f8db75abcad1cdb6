//! How far a replica is, on its way into the file.

use std::{
    sync::OnceLock,
    thread::{self, Thread},
    time::Instant,
};

use crate::journal::memory::cursor::Cursor;

/// A position that is saved together with the writes of others.
#[derive(Debug)]
pub struct Ride {
    /// The replica.
    pub replica: u8,
    /// How far it is.
    pub cursor: Cursor,
    /// Until when it may be held back.
    pub ripe: Instant,
    thread: Thread,
    saved: OnceLock<bool>,
}

impl Ride {
    /// One that this thread waits for.
    pub fn new(replica: u8, cursor: &Cursor, ripe: Instant) -> Self {
        Self { replica, cursor: cursor.clone(), ripe, thread: thread::current(), saved: OnceLock::new() }
    }

    /// Whether it is not known yet what came of it.
    pub fn is_open(&self) -> bool {
        self.saved.get().is_none()
    }

    /// Whether write number `seq` has no outcome there yet.
    pub fn comes_before(&self, seq: u64) -> bool {
        self.cursor.position < seq
    }

    /// Has who waits for it look again.
    pub fn wake(&self) {
        self.thread.unpark();
    }

    /// Whether it is in the file.
    pub fn is_saved(&self) -> bool {
        self.saved.get() == Some(&true)
    }

    /// Tells who waits for it.
    pub fn end(&self, saved: bool) {
        let _ = self.saved.set(saved);
        self.thread.unpark();
    }
}
