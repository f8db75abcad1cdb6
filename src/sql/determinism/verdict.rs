//! What in a statement would compute something else on another machine or at another time.

use std::{fmt, ops::Range};

use super::functions::Function;
use crate::sql::text::token::Token;

/// Why a statement may not do the same on a replica.
///
/// What the text does not show is not seen: column DEFAULTs, triggers, views, a column or a computed
/// text that holds 'now'. Float arithmetic is taken to be the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nondeterminism {
    /// `random()` or `randomblob(n)`.
    Random,
    /// The clock: CURRENT_TIMESTAMP, CURRENT_DATE, CURRENT_TIME, or a date function of 'now' or
    /// without a time value: <https://sqlite.org/lang_datefunc.html>.
    Clock,
    /// A parameter given to a date function, which may be 'now' or a modifier 'localtime'.
    ClockParameter,
    /// The time zone of the machine, by a modifier 'localtime' or 'utc'.
    TimeZone,
    /// What the connection did before: `last_insert_rowid()`, `changes()`, `total_changes()`.
    Connection,
    /// The SQLite that runs it: `sqlite_version()` and its like.
    Build,
    /// A function that is none of SQLite's own.
    UnknownFunction,
    /// UPDATE or DELETE with a LIMIT and no ORDER BY: which rows it takes is left open. Whether an
    /// ORDER BY that is there decides between any two rows cannot be told from the text.
    LimitWithoutOrder,
    /// INSERT … SELECT … FROM without ORDER BY: if the table numbers its rows, which row gets which
    /// number is left open.
    SelectWithoutOrder,
}

impl Nondeterminism {
    /// What it is, in a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "calls random() or randomblob()",
            Self::Clock => "reads the clock",
            Self::ClockParameter => "passes a parameter to a date function",
            Self::TimeZone => "depends on the machine's time zone",
            Self::Connection => "depends on what the connection did before",
            Self::Build => "depends on the version of SQLite",
            Self::UnknownFunction => "calls a function SQLite does not have built in",
            Self::LimitWithoutOrder => "has a LIMIT without an ORDER BY",
            Self::SelectWithoutOrder => "inserts from a SELECT without an ORDER BY",
        }
    }
}

impl fmt::Display for Nondeterminism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One thing in a statement that may differ, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What may differ.
    pub what: Nondeterminism,
    /// What makes it so, in bytes of the classified text: a function's name, a keyword, the 'now'.
    /// Empty where a date function's time value is left out.
    pub span: Range<usize>,
    /// How it could be frozen.
    pub(crate) site: Site,
}

/// What freezing needs to know of a reason's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// CURRENT_TIMESTAMP or its like.
    Keyword,
    /// `'now'`, alone as a time value.
    Now,
    /// `'subsec'`, alone as a time value: now, in milliseconds.
    Subsec,
    /// The time value left out, with or without an argument before it.
    Missing { comma: bool },
    /// The placeholder of this index into the statement's, as (part of) a time value or modifier.
    Parameter { index: usize, role: Role },
    /// `'localtime'`, the first modifier of a time value.
    LocalTime { base: Base },
    /// The name of a function called.
    Call(Function),
    /// Nothing can be done.
    Fixed,
}

/// What a placeholder is to a date function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All of a time value.
    Value,
    /// A part of a time value's expression.
    Part,
    Modifier,
}

/// The time value that modifiers change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Now,
    /// What the placeholder of this index holds.
    Parameter(usize),
    Other,
}

/// What stands at a statement's top level, outside of all parentheses.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Clauses {
    pub select: Option<Token>,
    pub limit: Option<Token>,
    pub from: bool,
    pub order: bool,
}

impl Clauses {
    /// The reason that lies in how a write's clauses are put together.
    pub fn reason(&self, verb: &str) -> Option<Reason> {
        let (what, token) = match verb {
            _ if self.order => return None,
            "UPDATE" | "DELETE" => (Nondeterminism::LimitWithoutOrder, self.limit?),
            "INSERT" if self.from => (Nondeterminism::SelectWithoutOrder, self.select?),
            _ => return None,
        };
        Some(Reason { what, span: token.start..token.end, site: Site::Fixed })
    }
}
