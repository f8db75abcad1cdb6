//! The outcomes of one write, as they come in, and who is woken by the last.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    thread::Thread,
};

use super::outcome::Outcome;
use crate::sql::ReplicaSet;

/// Someone to wake when a write is settled.
#[derive(Debug)]
pub enum Waiter {
    /// A thread that parks.
    Thread(Thread),
    /// A task.
    Task(Waker),
}

impl Waiter {
    fn wake(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            Self::Task(waker) => waker.wake(),
        }
    }
}

/// The outcomes of one write, as they come in.
#[derive(Debug)]
pub struct Settlement {
    /// The replicas that have no outcome yet.
    open: AtomicU64,
    /// Made when there is something to keep: most writes wait for their first outcome, with nobody waiting for them.
    state: Mutex<Option<Box<State>>>,
}

#[derive(Debug, Default)]
struct State {
    outcomes: Vec<Outcome>,
    waiters: Vec<Waiter>,
    abandoned: bool,
}

impl Settlement {
    /// One that waits for an outcome from each of `replicas`.
    pub fn new(replicas: ReplicaSet) -> Self {
        Self { open: AtomicU64::new(replicas), state: Mutex::default() }
    }

    /// The replicas without an outcome.
    pub fn open(&self) -> ReplicaSet {
        self.open.load(Ordering::Acquire)
    }

    /// Whether every replica has an outcome.
    pub fn is_settled(&self) -> bool {
        self.open() == 0
    }

    /// Records an outcome. The first one of a replica stands: a second is ignored and answered with `false`.
    pub fn settle(&self, outcome: Outcome) -> bool {
        let bit = 1 << outcome.replica;
        let mut guard = self.state();
        let open = self.open.load(Ordering::Relaxed);
        if open & bit == 0 {
            return false;
        }
        let state = guard.get_or_insert_default();
        if state.outcomes.is_empty() {
            state.outcomes.reserve_exact(open.count_ones() as usize);
        }
        state.outcomes.push(outcome);
        let settled = self.open.fetch_and(!bit, Ordering::Release) == bit;
        let waiters = if settled { std::mem::take(&mut state.waiters) } else { Vec::new() };
        drop(guard);
        waiters.into_iter().for_each(Waiter::wake);
        true
    }

    /// The outcomes so far, in the order of the replicas.
    pub fn outcomes(&self) -> Vec<Outcome> {
        let mut outcomes = self.state().as_ref().map(|state| state.outcomes.clone()).unwrap_or_default();
        outcomes.sort_by_key(|outcome| outcome.replica);
        outcomes
    }

    /// Says that this process will record no further outcome, and wakes who waits for one.
    pub fn abandon(&self) {
        let mut guard = self.state();
        let state = guard.get_or_insert_default();
        state.abandoned = true;
        let waiters = std::mem::take(&mut state.waiters);
        drop(guard);
        waiters.into_iter().for_each(Waiter::wake);
    }

    /// Whether it waits for outcomes that this process will not record.
    pub fn is_abandoned(&self) -> bool {
        let abandoned = self.state().as_ref().is_some_and(|state| state.abandoned);
        abandoned && !self.is_settled()
    }

    /// Has `waiter` woken once everything is settled. `false` when nothing will wake it: it is, or was abandoned.
    pub fn wait(&self, waiter: Waiter) -> bool {
        let mut guard = self.state();
        // Under the lock, because the last outcome takes the waiters under it.
        let abandoned = guard.as_ref().is_some_and(|state| state.abandoned);
        if self.is_settled() || abandoned {
            return false;
        }
        let state = guard.get_or_insert_default();
        let same = |other: &Waiter| match (other, &waiter) {
            (Waiter::Thread(a), Waiter::Thread(b)) => a.id() == b.id(),
            (Waiter::Task(a), Waiter::Task(b)) => a.will_wake(b),
            _ => false,
        };
        if !state.waiters.iter().any(same) {
            state.waiters.push(waiter);
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, Option<Box<State>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
