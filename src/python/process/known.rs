//! What is done with the texts that come again and again as the same Python object, as a literal in the code does.
//!
//! Such a text is found by its address: nothing is hashed, compared or converted to UTF-8. The object is kept, so that
//! nothing else can have its address. All others are looked up by what they say, in [`crate::sql::PlanCache`].

use std::sync::{Arc, Mutex, TryLockError};

use pyo3::{prelude::*, types::PyString};

use crate::sql::{MAX_CACHED_TEXT_BYTES, Plan, Skip};

/// How many objects are kept; each has one place where it can be.
const PLACES: usize = 256;

/// What is done with a text.
#[derive(Debug, Clone)]
pub enum Known {
    /// It is one statement that is left out.
    Skipped(Skip),
    /// Something of it is sent, or more is to be said.
    Planned(Arc<Plan>),
}

impl Known {
    fn of(plan: &Arc<Plan>) -> Self {
        match (&*plan.statements, &*plan.skipped) {
            ([], &[skip]) => Self::Skipped(skip),
            _ => Self::Planned(Arc::clone(plan)),
        }
    }
}

type Place = Option<(Py<PyString>, Known)>;

/// The texts that came as objects.
#[derive(Debug)]
pub struct KnownTexts {
    places: Mutex<Box<[Place]>>,
}

impl Default for KnownTexts {
    fn default() -> Self {
        Self { places: Mutex::new(std::iter::repeat_with(|| None).take(PLACES).collect()) }
    }
}

impl KnownTexts {
    /// What is done with `sql`, if this object came before.
    pub fn get(&self, sql: &Bound<'_, PyString>) -> Option<Known> {
        let places = self.places.try_lock().ok()?;
        let (text, known) = places[place(sql)].as_ref()?;
        text.is(sql).then(|| known.clone())
    }

    /// Keeps what is done with `sql`.
    pub fn keep(&self, sql: &Bound<'_, PyString>, text: &str, plan: &Arc<Plan>) {
        if text.len() > MAX_CACHED_TEXT_BYTES {
            return;
        }
        let new = Some((sql.clone().unbind(), Known::of(plan)));
        let old = match self.places.try_lock() {
            Ok(mut places) => std::mem::replace(&mut places[place(sql)], new),
            // Another thread is faster: with the GIL there is none.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => new,
        };
        // Freeing an object may run other code; not under the lock.
        drop(old);
    }
}

/// Objects lie 16 bytes apart or more.
fn place(sql: &Bound<'_, PyString>) -> usize {
    let address = sql.as_ptr() as usize;
    (address >> 4 ^ address >> 12) % PLACES
}
