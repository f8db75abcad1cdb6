//! What a SQL text does: its statements, and for each its kind, verb, table and placeholders.

use std::borrow::Cow;
use std::ops::Range;

use super::{
    reserved::names_ours,
    scan::Scan,
    statement::{Head, head},
};
use crate::sql::{
    determinism::{
        clock_names::clock_names,
        verdict::{Reason, Site},
    },
    text::token::Token,
};

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

/// Reads a text as SQLite would and tells what each of its statements does.
///
/// One pass, no recursion, in time linear in the text. It never fails: what is not SQL is
/// [`Kind::Unknown`]. It reads up to the first NUL, where SQLite stops too.
///
/// ```
/// use afterquery::sql::{Kind, classify};
///
/// let found = classify("WITH old AS (SELECT 1) DELETE FROM main.[users] WHERE id = ?");
/// let write = &found.statements[0];
/// assert_eq!((write.kind, write.verb), (Kind::Write, "DELETE"));
/// assert_eq!(write.table.as_deref(), Some("users"));
/// ```
pub fn classify(sql: &str) -> Classification<'_> {
    let mut scan = Scan::new(sql);
    let mut statements = Vec::new();
    while scan.begin() {
        if statements.capacity() == 0 {
            statements.reserve_exact(1);
        }
        statements.push(statement(&mut scan));
    }
    Classification { statements }
}

fn statement<'a>(scan: &mut Scan<'a>) -> Statement<'a> {
    let start = scan.token().start;
    let Head { kind, verb, temp } = head(scan);
    scan.rest();
    let is_known = !scan.malformed;
    let kind = if is_known { kind } else { Kind::Unknown };
    let name = |token: Option<Token>| token.filter(|_| is_known).map(|token| scan.unquoted(token));
    let span = start..scan.last_end;
    let writes = !matches!(kind, Kind::Read | Kind::Txn | Kind::Other);
    Statement {
        kind,
        verb,
        reserved: writes && names_ours(scan.sql, span.clone()),
        schema: name(scan.names.schema),
        table: name(scan.names.table),
        savepoint: name(scan.names.savepoint),
        temp: temp && is_known,
        returning: scan.returning.filter(|_| kind == Kind::Write),
        placeholders: scan.placeholders.take(),
        reasons: reasons(scan, kind, verb, &span),
        span,
    }
}

fn reasons(scan: &mut Scan<'_>, kind: Kind, verb: &str, span: &Range<usize>) -> Box<[Reason]> {
    let of_clauses = if kind == Kind::Write { scan.clauses.reason(verb) } else { None };
    if scan.reasons.is_empty() && of_clauses.is_none() {
        return Box::default();
    }
    let mut reasons = std::mem::take(&mut scan.reasons);
    if kind == Kind::Unknown {
        return Box::default();
    }
    if reasons.iter().any(|reason| reason.site == Site::Keyword) {
        let names = clock_names(scan.sql, span.clone());
        reasons.retain(|reason| {
            reason.site != Site::Keyword || names.binary_search(&reason.span.start).is_err()
        });
    }
    reasons.extend(of_clauses);
    if let Some(returning) = scan.returning.filter(|_| kind == Kind::Write) {
        // It is not sent, and its columns take their names from its text.
        reasons.retain(|reason| reason.span.start < returning);
    }
    reasons.sort_by_key(|reason| reason.span.start);
    reasons.into_boxed_slice()
}
