//! What happens when the disk fails, and what is told of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Disk;
use crate::{
    ground::error::Error,
    journal::file::{error::StoreError, told::damage},
    write::{Reason, ReasonCode},
};

/// How long a disk that failed is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Disk {
    pub(super) fn is_resting(&self) -> bool {
        self.failure().retry_at.is_some_and(|at| Instant::now() < at)
    }

    /// Whether a step worked. If not, the problem is there for all to see until writes can be put into the file again.
    pub(super) fn check<T>(&self, result: Result<T, StoreError>) -> bool {
        if let Err(error) = &result {
            self.fails(error);
        } else if !self.failure().writes {
            self.works();
        }
        result.is_ok()
    }

    /// Notes that the file cannot be written.
    pub(super) fn fails(&self, error: &StoreError) {
        if matches!(error, StoreError::Closed) {
            return;
        }
        let mut failure = self.failure();
        let problem = format!("the journal {} could not be written: {error}", self.path.display());
        if failure.problem.is_none() {
            failure.told.push(format!(
                "{problem}; writes are kept in memory and delivered from there, and are lost if this process ends before"
            ));
        }
        failure.problem = Some(problem.into());
        failure.retry_at = Some(Instant::now() + RETRY);
    }

    /// Notes that writes can be put into the file.
    pub(super) fn works(&self) {
        let mut failure = self.failure();
        failure.writes = false;
        if failure.problem.take().is_some() {
            failure.retry_at = None;
            failure.told.push(format!("the journal {} can be written again", self.path.display()));
        }
    }

    /// Has the disk tried again at once.
    pub fn try_again(&self) {
        self.failure().retry_at = None;
    }

    /// What is wrong with the file now.
    pub fn problem(&self) -> Option<Arc<str>> {
        if !self.is_open() {
            return None;
        }
        let failure = self.failure();
        let problem = failure.problem.as_ref().or(failure.gone.as_ref()).or(failure.damage.as_ref());
        problem.cloned()
    }

    /// What happened since the last time this was asked.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.failure().told)
    }

    /// Why something could not be read. What is damaged stays so; a disk that fails is asked again.
    pub(in crate::journal) fn unreadable(&self, error: &StoreError) -> Reason {
        if error.is_passing() {
            let message = format!("the journal {} cannot be read now: {error}", self.path.display());
            return Reason::new(ReasonCode::Unavailable, message);
        }
        let reason = damage(&self.path, error);
        self.failure().damage = Some(reason.message.share());
        reason
    }

    /// What to tell who asked for something that the file could not do.
    pub fn error(&self, problem: &StoreError) -> Error {
        Error::Journal { path: self.path.display().to_string(), problem: problem.to_string() }
    }
}
