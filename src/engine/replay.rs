//! Rejected writes: submitted again, each at most once, or forgotten.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};

use super::engine::Engine;
use crate::{
    ground::error::Error,
    journal::{DeadLetter, LetterKey},
    write::{Draft, Write},
};

impl Engine {
    /// Submits rejected writes again, each to the one replica that rejected it, and forgets the dead letters in the same
    /// step. Left out are those that are not there any more, and those of replicas that take no writes now.
    pub fn replay(&self, keys: Option<&[LetterKey]>) -> Result<Vec<Arc<Write>>, Error> {
        let _one_at_a_time = self.replaying.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.gather_letters()?;
        let letters = self.shared.dead_letters()?;
        if let Some(problem) = self.shared.own.problem() {
            // Sent from memory, and then a crash: the letter would still be in the file.
            return Err(Error::Journal { path: self.shared.own.origin.clone(), problem });
        }
        let keys: Option<HashSet<_>> = keys.map(|keys| keys.iter().collect());
        let wanted = |letter: &DeadLetter| {
            let takes = |replica| self.shared.own.journal.takes(replica as u8);
            keys.as_ref().is_none_or(|keys| keys.contains(&letter.key))
                && self.replica(&letter.key.replica).map_or(true, takes)
        };
        let letters: Vec<_> = letters.into_iter().filter(wanted).collect();
        let keys: Vec<_> = letters.iter().map(|letter| letter.key.clone()).collect();
        let drafts = letters.into_iter().map(|letter| self.redraft(letter)).collect::<Result<Vec<_>, _>>()?;
        let writes = self.shared.own.journal.replay(drafts).map_err(|failed| {
            self.detach(failed.full);
            Error::Journal { path: self.shared.own.origin.clone(), problem: failed.problem }
        })?;
        if !self.shared.own.is_durable() {
            let taken = keys.into_iter().zip(&writes).filter(|(_, appended)| appended.is_taken());
            self.shared.discard(&taken.map(|(key, _)| key).collect::<Vec<_>>())?;
        }
        let writes = writes.into_iter().map(|appended| self.submitted(appended)).collect();
        self.shared.wake_writer();
        self.shared.wake();
        Ok(writes)
    }

    fn redraft(&self, letter: DeadLetter) -> Result<(LetterKey, Draft), Error> {
        let targets = 1 << self.replica(&letter.key.replica)?;
        let mut body = letter.body;
        body.retarget(targets);
        Ok((letter.key, Draft { body, targets, expected: letter.expected }))
    }

    /// Forgets rejected writes. How many of them were there.
    pub fn discard(&self, keys: Option<&[LetterKey]>) -> Result<usize, Error> {
        let _one_at_a_time = self.replaying.lock().unwrap_or_else(PoisonError::into_inner);
        match keys {
            Some(keys) => self.shared.discard(keys),
            None => {
                self.shared.gather_letters()?;
                let all: Vec<_> = self.shared.dead_letters()?.into_iter().map(|letter| letter.key).collect();
                self.shared.discard(&all)
            }
        }
    }
}
