//! What every replica is past goes, and its room with it.

use std::sync::atomic::Ordering;

use super::{Disk, GROUP};
use crate::journal::file::{
    room::{FEW, FEW_PAGES},
    told::tell_gone,
};

/// How many pages are given back at once: 4 MiB, of which a caller that waits for the file meanwhile hardly notices.
const PAGES: i64 = 1_000;

impl Disk {
    /// Removes a group of writes that every replica is past. Whether there may be more.
    pub(in crate::journal) fn collect(&self, floor: u64) -> bool {
        if self.is_resting() {
            return false;
        }
        let mut access = self.store();
        let (most, result) = match access.with(|store| store.collect(GROUP)) {
            Err(error) if error.is_full() => (FEW, access.with(|store| store.collect(FEW))),
            result => (GROUP, result),
        };
        let full = match &result {
            Ok((count, through)) => {
                // What is left up to there waits for a replica that is not among the settings.
                let whole = *count == most;
                self.collected.store(if whole { *through } else { floor.max(*through) }, Ordering::Relaxed);
                whole
            }
            Err(_) => false,
        };
        if full || !self.check(result) {
            return full;
        }
        match access.with(|store| store.limit_gone(self.max_gone)) {
            Ok(gone) if !gone.is_empty() => {
                let told = gone.iter().map(|gone| tell_gone(&self.path, gone).1);
                self.failure().told.extend(told);
                // What was held for them goes.
                self.collected.store(0, Ordering::Relaxed);
                return true;
            }
            // It is tried again with the next group.
            _ => {}
        }
        let shrunk = access.with(|store| store.shrink(PAGES));
        let room = shrunk.or_else(|_| access.with(|store| store.shrink(FEW_PAGES))).unwrap_or(false);
        self.room.store(room, Ordering::Relaxed);
        room
    }

    /// The last write that was removed from it.
    pub(in crate::journal) fn collected(&self) -> u64 {
        self.collected.load(Ordering::Relaxed)
    }

    /// Whether the file may be larger than what is in it.
    pub(in crate::journal) fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed)
    }
}
