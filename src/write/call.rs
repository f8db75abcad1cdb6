//! A call that hands a statement over: read, but not yet numbered.

use super::{
    body::SentStatement,
    reason::{Reason, ReasonCode},
    render::draft,
    write::Draft,
};
use crate::sql::ReplicaSet;

/// What became of one call.
#[derive(Debug)]
pub struct Call {
    /// What is sent of it, or why nothing can be.
    pub statements: Result<Vec<SentStatement>, Reason>,
    /// The replicas it is for.
    pub targets: ReplicaSet,
    /// The rows it changed on the primary, where the driver told.
    pub expected: Option<i64>,
}

impl Call {
    /// One that is rejected by each of `targets` in its turn, so that order and policy hold for it too.
    pub fn rejected(reason: Reason, targets: ReplicaSet) -> Self {
        Self { statements: Err(reason), targets, expected: None }
    }

    /// One of a transaction that could not be read: without it the rest would be half a transaction.
    pub fn failed(targets: ReplicaSet) -> Self {
        let message = "afterquery failed at a statement of the transaction; the log tells where";
        Self::rejected(Reason::new(ReasonCode::Panic, message), targets)
    }

    /// A write of its own.
    pub fn draft(self) -> Draft {
        draft(self.statements, self.targets, self.expected)
    }

    /// All calls as one write; `None` where there is nothing to replicate. What cannot be sent makes the whole write so.
    pub fn joined(calls: Vec<Self>) -> Option<Draft> {
        let targets = calls.iter().fold(0, |targets, call| targets | call.targets);
        let expected = calls.iter().try_fold(0, |sum, call| Some(sum + call.expected?));
        let statements: Result<Vec<_>, _> = calls.into_iter().map(|call| call.statements).collect();
        let statements = statements.map(|lists| lists.into_iter().flatten().collect());
        (targets != 0).then(|| draft(statements, targets, expected))
    }

    /// How many statements `calls` have in all.
    pub fn count(calls: &[Self]) -> u64 {
        calls.iter().map(|call| call.statements.as_ref().map_or(1, Vec::len) as u64).sum()
    }
}
