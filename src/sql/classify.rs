//! What a SQL text does: its statements, and for each its kind, verb, table and placeholders.

use std::ops::Range;

/// What a statement does to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reads: SELECT, VALUES, EXPLAIN, ...
    Read,
    /// Changes rows: INSERT, REPLACE, UPDATE, DELETE.
    Write,
    /// Changes the schema: CREATE, ALTER, DROP.
    Ddl,
    /// Transaction control: BEGIN, COMMIT, END, ROLLBACK, SAVEPOINT, RELEASE.
    Txn,
    /// Everything else SQLite knows: PRAGMA, ATTACH, DETACH, VACUUM, ANALYZE, REINDEX.
    Other,
    /// Not SQL as SQLite knows it.
    Unknown,
}

/// One statement of a text. Offsets are bytes into the classified text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it does.
    pub kind: Kind,
    /// Its first word that decides, upper case: "SELECT", "INSERT" (also for REPLACE INTO), ...
    pub verb: &'static str,
    /// The schema in front of the table's name, unquoted.
    pub schema: Option<Box<str>>,
    /// The table written directly (for DDL: the table the object belongs to), unquoted.
    pub table: Option<Box<str>>,
    /// For SAVEPOINT, RELEASE and ROLLBACK TO: the savepoint's name, unquoted.
    pub savepoint: Option<Box<str>>,
    /// Where the statement stands, without spaces and comments around it and without its `;`.
    pub span: Range<usize>,
    /// Where a write's own RETURNING begins; the text up to there (right-trimmed) is the write without it.
    pub returning: Option<usize>,
    /// Its placeholders, in source order.
    pub placeholders: Box<[Placeholder]>,
}

/// A `?`, `?N`, `:name`, `@name` or `$name` in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// Where it stands in the classified text.
    pub span: Range<usize>,
    /// The parameter it takes, as SQLite numbers it: 1-based within its statement. A plain `?` is one
    /// more than the largest number so far; equal names share one number.
    pub index: u32,
    /// Whether it is named (then its name is the span's text without the first character).
    pub named: bool,
    /// Whether it stands in a place where an integer literal would be taken for a column's
    /// position: directly a term of ORDER BY or GROUP BY.
    pub ordinal: bool,
}

/// The statements of a text, in source order. Empty statements (`;;`, only comments) are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classification {
    /// In source order.
    pub statements: Vec<Statement>,
}
