//! Looking for the journals of dead processes, and having them delivered.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Instant,
};

use super::{command::Command, shared::Shared};
use crate::{
    ground::{error::Error, event::Level},
    journal::{Adopted, MAX_ADOPTED, Source},
};

impl Shared {
    /// Notes what a look brought, and tells the user's log. The journals that were taken over.
    pub(crate) fn note_adopted(&self, adopted: Adopted) -> Vec<Arc<Source>> {
        let Adopted { sources, waiting, damaged, told, unclean } = adopted;
        self.adoption.waiting.store(waiting, Ordering::Release);
        self.adoption.damaged.store(damaged, Ordering::Release);
        told.into_iter().for_each(|(level, message)| self.log(level, message));
        self.note_unclean(unclean);
        sources.into_iter().map(Arc::new).collect()
    }

    fn note_unclean(&self, origins: Vec<String>) {
        if origins.is_empty() {
            return;
        }
        let first = {
            let mut uncertain = self.adoption.uncertain.lock().unwrap_or_else(PoisonError::into_inner);
            let first = uncertain.origins.is_empty();
            uncertain.origins.extend(origins);
            uncertain.replicas = self.all();
            first
        };
        if first {
            let message = "a process with a journal ended without closing it (it was killed, or its machine failed): its \
                           journal is delivered, but what it had committed and not yet handed over is in no journal. The \
                           replicas are not certain: compare them with the primary, or use the outbox, which has no such \
                           gap (this is said once; stats().not_certain goes on saying it)";
            self.log(Level::Warning, message.into());
        }
    }

    /// Looks for journals of processes that have died, if it is time.
    pub fn adopt_if_due(&self) {
        let is_due = self.adoption.due.try_lock().is_ok_and(|due| Instant::now() >= *due);
        if is_due {
            self.adopt();
        }
    }

    /// Has the next look come at once: there is room for a journal that waits.
    pub fn adopt_soon(&self) {
        if self.adoption.waiting() > 0 {
            *self.adoption.due.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            self.ring_writer();
        }
    }

    /// Looks for journals of processes that have died, and has them delivered. How many there were.
    pub fn adopt(&self) -> usize {
        let Some(directory) = &self.adoption.directory else { return 0 };
        let mut due = self.adoption.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = Instant::now() + self.adoption.interval;
        let room = MAX_ADOPTED.saturating_sub(self.adopted().len());
        let mut found = match directory.adopt(room) {
            Ok(found) => found,
            // The directory cannot be read: what is wrong with it shows where it is written to.
            Err(_) => return 0,
        };
        if let Some(own) = self.own.journal.disk() {
            found.move_letters(own);
        }
        let sources = self.note_adopted(found);
        for source in &sources {
            self.add_adopted(Arc::clone(source));
            for replica in 0..self.status.len() as u8 {
                self.command(replica, Command::Adopt(Arc::clone(source)));
            }
        }
        sources.len()
    }

    /// Gives up what journals of dead processes that are not in hand hold for `replica`, which was synced from a copy.
    pub fn give_up_waiting(&self, replica: u8) -> Result<(), Error> {
        let Some(directory) = &self.adoption.directory else { return Ok(()) };
        let _one_at_a_time = self.adoption.due.lock().unwrap_or_else(PoisonError::into_inner);
        let found = directory.give_up(usize::from(replica))?;
        found.told.into_iter().for_each(|(level, message)| self.log(level, message));
        self.note_unclean(found.unclean);
        Ok(())
    }
}
