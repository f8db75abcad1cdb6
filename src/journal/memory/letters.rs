//! Rejected writes of a journal in memory: a bounded ring.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::letter::{DeadLetter, LetterKey};
use crate::sql::ReplicaSet;

/// The ring.
#[derive(Debug, Default)]
pub struct Letters(Mutex<VecDeque<DeadLetter>>);

impl Letters {
    /// Keeps a rejected write, and at most `max`. How many fell out.
    pub fn push(&self, letter: DeadLetter, max: usize) -> usize {
        let mut ring = self.ring();
        ring.push_back(letter);
        let excess = ring.len().saturating_sub(max);
        ring.drain(..excess).count()
    }

    /// All, oldest first.
    pub fn all(&self) -> Vec<DeadLetter> {
        self.ring().iter().cloned().collect()
    }

    /// Removes those with these keys. How many there were.
    pub fn remove(&self, keys: &[LetterKey]) -> usize {
        let keys: HashSet<_> = keys.iter().collect();
        let mut ring = self.ring();
        let before = ring.len();
        ring.retain(|letter| !keys.contains(&letter.key));
        before - ring.len()
    }

    /// Removes those of a replica.
    pub fn remove_of(&self, replica: &str) {
        self.ring().retain(|letter| letter.key.replica != replica);
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<DeadLetter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why no dead letter was replayed.
pub struct NotReplayed {
    /// What to say.
    pub problem: String,
    /// The replicas that have to be detached for what was tried.
    pub full: ReplicaSet,
}
