//! How far a write is that goes in parts.

/// How far a write is: first by its statements, then by its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Progress {
    /// Statements applied whole.
    pub statements: u64,
    /// Rows applied of the one after them.
    pub rows: u64,
}

/// Of the 53 bits of a step that come back through JSON, those for the statements: 67 million. The others count rows.
const STATEMENT_BITS: u32 = 26;

/// One above the most rows.
pub(super) const MOST_ROWS: u64 = 1 << (53 - STATEMENT_BITS);

impl Progress {
    /// What a watermark's `step` says.
    pub fn of(step: u64) -> Self {
        Self { statements: step & ((1 << STATEMENT_BITS) - 1), rows: step >> STATEMENT_BITS }
    }

    /// As a watermark's `step`. Without rows it is the number of statements.
    pub fn step(self) -> u64 {
        self.rows << STATEMENT_BITS | self.statements
    }
}
