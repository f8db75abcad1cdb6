//! What in a statement would compute something else on another machine or at another time.

use std::fmt;
use std::ops::Range;

use super::functions::Function;
use super::token::{Token, TokenKind};
use super::words::is;

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

/// A call of a date function being read.
#[derive(Debug)]
pub(crate) struct ClockCall {
    /// Where its `(` stands, and how deep what is in it.
    pub open: usize,
    pub depth: u32,
    first: u32,
    last: u32,
    argument: u32,
    tokens: u32,
    /// The only token of the argument, if it says something.
    only: Option<Reason>,
    base: Base,
    /// No modifier yet that changes the time.
    unmodified: bool,
}

impl ClockCall {
    pub fn new(open: usize, depth: u32, first: u32, last: u32) -> Self {
        let base = Base::Other;
        Self { open, depth, first, last, argument: 0, tokens: 0, only: None, base, unmodified: true }
    }

    /// Takes a token of the current argument.
    pub fn take(&mut self, token: Token, text: &[u8], placeholders: usize, reasons: &mut Vec<Reason>) {
        self.tokens += 1;
        if self.tokens == 2 {
            reasons.extend(self.only.take().map(as_part));
        }
        let reason = match token.kind {
            TokenKind::Text | TokenKind::Quoted => self.text_reason(token, text),
            TokenKind::Variable => self.parameter_reason(token, placeholders),
            _ if self.in_time_value() && is(text, "CURRENT_TIMESTAMP") => {
                self.base = Base::Now;
                None
            }
            _ => None,
        };
        match reason {
            Some(reason) if self.tokens == 1 => self.only = Some(reason),
            Some(reason) => reasons.push(as_part(reason)),
            None => {}
        }
    }

    fn in_time_value(&self) -> bool {
        (self.first..=self.last).contains(&self.argument)
    }

    fn text_reason(&self, token: Token, text: &[u8]) -> Option<Reason> {
        let inner = inside(text);
        let quoted = token.kind == TokenKind::Quoted;
        let (what, site) = if self.in_time_value() {
            let site = match () {
                () if is(inner, "NOW") => Site::Now,
                () if is(inner, "SUBSEC") || is(inner, "SUBSECOND") => Site::Subsec,
                () => return None,
            };
            (Nondeterminism::Clock, site)
        } else if self.argument > self.last && (is(inner, "LOCALTIME") || is(inner, "UTC")) {
            let fixable = is(inner, "LOCALTIME") && self.unmodified;
            let site = if fixable { Site::LocalTime { base: self.base } } else { Site::Fixed };
            (Nondeterminism::TimeZone, site)
        } else {
            return None;
        };
        // In double quotes it is a column's name, and a text only if there is no such column.
        let site = if quoted { Site::Fixed } else { site };
        Some(Reason { what, span: token.start..token.end, site })
    }

    fn parameter_reason(&self, token: Token, placeholders: usize) -> Option<Reason> {
        if self.argument < self.first {
            return None;
        }
        let role = if self.in_time_value() { Role::Value } else { Role::Modifier };
        let site = Site::Parameter { index: placeholders.saturating_sub(1), role };
        Some(Reason { what: Nondeterminism::ClockParameter, span: token.start..token.end, site })
    }

    /// The argument is over.
    pub fn end_argument(&mut self, text: &[u8], reasons: &mut Vec<Reason>) {
        let only = self.only.take();
        if self.in_time_value() {
            match only.as_ref().map(|reason| reason.site) {
                Some(Site::Now | Site::Subsec) => self.base = Base::Now,
                Some(Site::Parameter { index, .. }) => self.base = Base::Parameter(index),
                _ if self.tokens > 1 => self.base = Base::Other,
                _ => {}
            }
        } else if self.argument > self.last {
            let modifier = inside(text);
            self.unmodified &= self.tokens == 1 && (is(modifier, "SUBSEC") || is(modifier, "SUBSECOND"));
        }
        reasons.extend(only);
        self.argument += 1;
        self.tokens = 0;
    }

    /// The call is over, at its `)`.
    pub fn end(mut self, close: usize, text: &[u8], reasons: &mut Vec<Reason>) {
        let arguments = self.argument + u32::from(self.tokens > 0);
        let is_missing = arguments == self.first && self.first == self.last;
        self.end_argument(text, reasons);
        if is_missing {
            let site = Site::Missing { comma: arguments > 0 };
            reasons.push(Reason { what: Nondeterminism::Clock, span: close..close, site });
        }
    }
}

/// A quoted token without its quotes.
fn inside(text: &[u8]) -> &[u8] {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

/// What was taken for all of an argument is only a part of it: there it may mean anything.
fn as_part(reason: Reason) -> Reason {
    let site = match reason.site {
        Site::Parameter { index, role: Role::Value } => Site::Parameter { index, role: Role::Part },
        Site::Parameter { index, role } => Site::Parameter { index, role },
        _ => Site::Fixed,
    };
    Reason { site, ..reason }
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
