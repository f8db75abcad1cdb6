//! What is known of a text: its statements, and for each its kind, verb, table and placeholders.

use std::{borrow::Cow, ops::Range};

use crate::sql::determinism::verdict::Reason;

/// What a statement does to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reads: SELECT, VALUES, EXPLAIN of anything, and WITH before a SELECT or VALUES.
    Read,
    /// Changes rows: INSERT, REPLACE, UPDATE, DELETE, also with a WITH before.
    Write,
    /// Changes the schema: CREATE, ALTER, DROP.
    Ddl,
    /// Transaction control: BEGIN, COMMIT, END, ROLLBACK, SAVEPOINT, RELEASE.
    Txn,
    /// Everything else SQLite knows: PRAGMA, ATTACH, DETACH, VACUUM, ANALYZE, REINDEX.
    Other,
    /// Not SQL as SQLite knows it: it begins like no statement, or has a token SQLite does not
    /// know, or unbalanced parentheses. Never a read: see [`Statement::may_write`].
    Unknown,
}

/// One statement of a text. Offsets are bytes into the classified text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What it does.
    pub kind: Kind,
    /// Its first word that decides, upper case: "SELECT" (also for VALUES), "INSERT" (also for
    /// REPLACE INTO), ... After a WITH it is the verb of the statement behind it. If the kind is
    /// unknown, it is what the statement begins with, "WITH" if what follows that is unclear, and
    /// "" if it is no verb of SQLite's.
    pub verb: &'static str,
    /// The schema in front of the table's name, unquoted.
    pub schema: Option<Cow<'a, str>>,
    /// The table written directly, unquoted. For DDL the table the object belongs to: itself for
    /// CREATE, ALTER and DROP TABLE, what is indexed for CREATE INDEX, what is watched for CREATE
    /// TRIGGER; a view stands for itself, as it can be written to like a table. None for DROP INDEX
    /// and DROP TRIGGER, whose text does not tell, and for everything that is no write or DDL.
    pub table: Option<Cow<'a, str>>,
    /// For SAVEPOINT, RELEASE and ROLLBACK TO: the savepoint's name, unquoted.
    pub savepoint: Option<Cow<'a, str>>,
    /// Whether it names a table of afterquery's own: those are never replicated.
    pub reserved: bool,
    /// Whether it is CREATE TEMP or TEMPORARY: what it makes lives in one connection only.
    pub temp: bool,
    /// Where the statement stands, without spaces and comments around it and without its `;`.
    pub span: Range<usize>,
    /// Where a write's own RETURNING begins; the text up to there (right-trimmed) is the write without it.
    pub returning: Option<usize>,
    /// Its placeholders, in source order.
    pub placeholders: Vec<Placeholder>,
    /// What in it may differ on a replica, in source order; empty if nothing does. Looked for in
    /// reads, writes and CREATE TABLE … AS.
    pub reasons: Box<[Reason]>,
}

/// A `?`, `?N`, `:name`, `@name` or `$name` in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// Where it stands in the classified text.
    pub span: Range<usize>,
    /// The parameter it takes, as SQLite numbers it: 1-based within its statement. A plain `?` is one
    /// more than the largest number so far; equal names share one number. At most 250,000.
    pub index: u32,
    /// Whether it is named (then its name is the span's text without the first character).
    pub named: bool,
    /// Whether it stands in a place where an integer literal would be taken for a column's
    /// position: it begins a term of ORDER BY or GROUP BY, after nothing but parentheses and signs.
    /// In doubt it is true (`ORDER BY ? + 1`).
    pub ordinal: bool,
}

/// The statements of a text, in source order. Empty statements (`;;`, only comments) are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classification<'a> {
    /// In source order.
    pub statements: Vec<Statement<'a>>,
}

impl Statement<'_> {
    /// Whether it changes rows or the schema, or is unknown and begins like one that does.
    pub fn may_write(&self) -> bool {
        match self.kind {
            Kind::Write | Kind::Ddl => true,
            Kind::Read | Kind::Txn | Kind::Other => false,
            Kind::Unknown => {
                matches!(self.verb, "INSERT" | "UPDATE" | "DELETE" | "WITH" | "CREATE" | "ALTER" | "DROP")
            }
        }
    }
}
