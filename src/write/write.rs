//! The unit of replication: one statement, or all statements of one committed transaction.

use super::{
    body::{Body, SentStatement},
    moment::Moment,
    settlement::Settlement,
};
use crate::sql::ReplicaSet;

/// A write before it has its number.
#[derive(Debug)]
pub struct Draft {
    /// What it does.
    pub body: Body,
    /// The replicas it is for.
    pub targets: ReplicaSet,
    /// The rows it changed on the primary, where the driver told.
    pub expected: Option<i64>,
}

/// A numbered write, from the journal to its last outcome. There may be millions: it is kept small.
#[derive(Debug)]
pub struct Write {
    /// Its number within its origin, from 1.
    pub seq: u64,
    /// When it was handed over.
    pub submitted: Moment,
    /// What it does.
    pub body: Body,
    /// The rows it changed on the primary; [`NO_COUNT`] where they are not known.
    expected: u32,
    /// What it counts as pending bytes.
    bytes: u32,
    /// What became of it so far.
    pub settlement: Settlement,
}

/// Stands for no row count, and for one so large that nobody compares it.
const NO_COUNT: u32 = u32::MAX;

impl Write {
    /// A write that is still open for `open`. It counts as `bytes` pending bytes, or as 4 GiB if these are more.
    pub fn new(
        seq: u64,
        submitted: Moment,
        body: Body,
        expected: Option<i64>,
        bytes: usize,
        open: ReplicaSet,
    ) -> Self {
        Self {
            seq,
            submitted,
            body,
            expected: expected.and_then(|rows| u32::try_from(rows).ok()).unwrap_or(NO_COUNT),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            settlement: Settlement::new(open),
        }
    }

    /// The rows it changed on the primary, where the driver told.
    pub fn expected(&self) -> Option<i64> {
        (self.expected != NO_COUNT).then(|| self.expected.into())
    }

    /// What it counts as pending bytes.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// The same write, open for other replicas.
    pub fn reopened(self, open: ReplicaSet) -> Self {
        Self { settlement: Settlement::new(open), ..self }
    }

    /// Whether `replica` has no outcome for it.
    pub fn is_open_for(&self, replica: u8) -> bool {
        self.settlement.open() & (1 << replica) != 0
    }

    /// The statements that go to `replica`.
    pub fn statements_for(&self, replica: u8) -> impl Iterator<Item = &SentStatement> {
        self.body.statements().iter().filter(move |s| s.targets & (1 << replica) != 0)
    }
}
