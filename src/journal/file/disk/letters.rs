//! Rejected writes in a journal's file. A letter and what becomes of it are one fact: they change in one step, or not at all.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use super::{Access, Disk};
use crate::{
    journal::{
        file::error::StoreError,
        memory::{
            cursor::{Cursor, NOTHING_MORE, State},
            letter::{DeadLetter, LetterKey},
            letters::NotReplayed,
            queue::{Appended, Queue},
        },
    },
    sql::ReplicaSet,
    write::Draft,
};

impl Disk {
    /// Keeps a rejected write, together with how far its replica is then. In memory while the disk fails.
    pub fn bury(&self, letter: DeadLetter, replica: u8, cursor: &Cursor) {
        let mut access = self.store();
        self.has_letters.store(true, Ordering::Release);
        let done = !self.is_resting()
            && self.put_letters(&mut access)
            && self.check(access.with(|store| store.bury(&letter, usize::from(replica), cursor)));
        if !done {
            self.failure().letters.push(letter);
        }
    }

    /// Puts into the file what could not be put there of rejected writes. Before any position that is past them: a write
    /// that is neither pending nor a dead letter is lost, and one that is in a copy must not stay a letter. Whether
    /// nothing is left.
    pub(super) fn put_letters(&self, access: &mut Access<'_>) -> bool {
        let (copied, letters) = {
            let failure = self.failure();
            (failure.copied.clone(), failure.letters.clone())
        };
        if copied.is_empty() && letters.is_empty() {
            return true;
        }
        let done = self.check(access.with(|store| {
            copied.iter().try_for_each(|replica| store.delete_letters_of(replica).map(drop))?;
            store.insert_letters(&letters)
        }));
        if done {
            let mut failure = self.failure();
            failure.copied.clear();
            failure.letters.clear();
        }
        done
    }

    /// Forgets the rejected writes of a replica that was synced from a copy of the primary: they are in the copy. At once for
    /// all who ask; in the file before the replica's new position.
    pub fn forget_letters(&self, replica: &str) {
        let mut access = self.store();
        {
            let mut failure = self.failure();
            failure.letters.retain(|letter| letter.key.replica != replica);
            failure.copied.push(replica.to_owned());
        }
        if !self.is_resting() {
            // What does not work is tried again, before anything that depends on it.
            self.put_letters(&mut access);
        }
    }

    /// Gives up everything that replica number `index` has not got of this journal: it is in the copy that the replica was
    /// synced from.
    pub fn give_up(&self, replica: &str, index: usize) -> Result<(), StoreError> {
        let cursor = Cursor { position: NOTHING_MORE, state: State { finished: true, ..State::default() } };
        self.with(|store| {
            store.delete_letters_of(replica)?;
            store.save_cursor(index, &cursor)
        })
    }

    /// The rejected writes that are kept here.
    pub fn letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let mut access = self.store();
        let mut letters = access.with(|store| store.letters())?;
        let failure = self.failure();
        letters.retain(|letter| !failure.copied.contains(&letter.key.replica));
        letters.extend(failure.letters.iter().cloned());
        Ok(letters)
    }

    /// Removes rejected writes, all in one step. How many of them were there.
    pub fn discard(&self, keys: &[LetterKey]) -> Result<usize, StoreError> {
        let mut access = self.store();
        let count = access.with(|store| store.delete_letters(keys))?;
        let keys: HashSet<_> = keys.iter().collect();
        let mut failure = self.failure();
        let before = failure.letters.len();
        failure.letters.retain(|letter| !keys.contains(&letter.key));
        Ok(count + before - failure.letters.len())
    }

    /// Appends writes that replay rejected ones, and saves them in the step that removes those. Where that cannot be, nothing
    /// is replayed.
    pub(in crate::journal) fn replay(
        &self,
        queue: &Queue,
        drafts: Vec<(LetterKey, Draft)>,
    ) -> Result<Vec<Appended>, NotReplayed> {
        // Held throughout, so that nobody saves one without the other.
        let mut access = self.store();
        access.look();
        // What is waiting goes first, so that a failure of ours takes nothing of others with it.
        if self.is_resting() || !self.put_letters(&mut access) || !self.save(&mut access, queue, queue.last())
        {
            return Err(self.not_replayed(0));
        }
        let mut writes = Vec::with_capacity(drafts.len());
        let mut taken = Vec::new();
        for (key, draft) in drafts {
            let appended = queue.append(draft);
            if appended.is_taken() {
                taken.push((key, appended.write.seq));
            }
            writes.push(appended);
        }
        self.failure().replayed = taken;
        // Once the queue is closed, numbers are given to what is not kept.
        if self.save(&mut access, queue, queue.last()) {
            return Ok(writes);
        }
        Err(self.not_replayed(writes.iter().fold(0, |full, appended| full | appended.full)))
    }

    fn not_replayed(&self, full: ReplicaSet) -> NotReplayed {
        let why = self.failure().problem.clone().unwrap_or_else(|| Arc::from("it is closed"));
        NotReplayed { problem: format!("nothing was replayed: {why}"), full }
    }

    /// Moves all rejected writes to `other`: there first, so that none can be lost. Until they are gone here, none may be
    /// replayed or discarded there: what remains here would come back.
    pub fn move_letters(&self, other: &Self) -> Result<(), StoreError> {
        if !self.has_letters.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut access = self.store();
        if access.file.lock.is_none() {
            // They were moved before it was closed.
            return Ok(());
        }
        let mut letters = access.with(|store| store.letters())?;
        let in_file: Vec<_> = letters.iter().map(|letter| letter.key.clone()).collect();
        {
            let failure = self.failure();
            letters.retain(|letter| !failure.copied.contains(&letter.key.replica));
            letters.extend(failure.letters.iter().cloned());
        }
        if !letters.is_empty() {
            other.with(|store| store.insert_letters(&letters))?;
            other.has_letters.store(true, Ordering::Release);
        }
        access.with(|store| store.delete_letters(&in_file))?;
        self.failure().letters.clear();
        self.has_letters.store(false, Ordering::Release);
        Ok(())
    }

    /// Removes the oldest rejected writes beyond `max`. How many there were.
    pub fn drop_letters(&self, max: usize) -> usize {
        let excess = {
            let letters = &mut self.failure().letters;
            let excess = letters.len().saturating_sub(max);
            letters.drain(..excess).count()
        };
        if self.is_resting() {
            excess
        } else {
            // What could not be removed is removed at the next rejected write.
            excess + self.with(|store| store.drop_letters(max)).unwrap_or(0)
        }
    }
}
