//! What is done with a text, and what is counted and told of it.

use std::{
    hash::BuildHasher,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use super::engine::Engine;
use crate::{
    ground::{event::Level, panics, quoted::one_line},
    sql::{Plan, SHOWN_BYTES, Skip, shown},
};

/// For how many texts the user is told that they may differ on a replica. Beyond this there is nothing new to learn
/// from the log; the counter goes on.
const MAX_WARNED_TEXTS: usize = 1_000;

impl Engine {
    /// What is done with `sql`. Counts what is skipped of it.
    pub fn plan(&self, sql: &str) -> Arc<Plan> {
        self.count_skips(self.look_up(sql))
    }

    /// Counts what is skipped of a text, and gives its plan back.
    pub fn count_skips(&self, plan: Arc<Plan>) -> Arc<Plan> {
        for &skip in &plan.skipped {
            self.count_skip(skip, 1);
        }
        plan
    }

    /// What is done with `sql`, without counting.
    pub fn look_up(&self, sql: &str) -> Arc<Plan> {
        let (plan, new) = self.plans.get_or_make(sql, || {
            panics::caught("plan", || Plan::new(sql, &self.rules)).unwrap_or_else(|panic| {
                self.shared.log(Level::Error, panic.to_string());
                Plan::failed()
            })
        });
        for &skip in &plan.skipped {
            if new && skip.is_told() {
                self.shared.log(
                    Level::Warning,
                    format!("not replicated: {}: {}", skip.explanation(), self.shown(sql)),
                );
            }
        }
        plan
    }

    /// Counts statements that are not replicated.
    pub fn count_skip(&self, skip: Skip, n: u64) {
        self.skipped[skip as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// The statements not replicated so far, by reason.
    pub fn skipped(&self) -> impl Iterator<Item = (Skip, u64)> + '_ {
        Skip::ALL.into_iter().map(|skip| (skip, self.skipped[skip as usize].load(Ordering::Relaxed)))
    }

    /// Counts a statement that may do something else on a replica.
    pub fn count_nondeterministic(&self) {
        self.nondeterministic.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells the user of such a statement, once for each text.
    pub fn warn_nondeterministic(&self, sql: &str, why: &str) {
        let text = foldhash::fast::FixedState::with_seed(0).hash_one(sql);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < MAX_WARNED_TEXTS && warned.insert(text) {
            let message = format!("replicas may differ: the statement {why}: {}", self.shown(sql));
            self.shared.log(Level::Warning, message);
        }
    }

    /// A text for a log line: its beginning, on one line, without its values unless the user wants to see them.
    pub fn shown(&self, sql: &str) -> String {
        if self.shared.config.log_values { one_line(sql, SHOWN_BYTES) } else { shown(sql) }
    }

    /// The statements so far that may do something else on a replica.
    pub fn nondeterministic(&self) -> u64 {
        self.nondeterministic.load(Ordering::Relaxed)
    }
}
