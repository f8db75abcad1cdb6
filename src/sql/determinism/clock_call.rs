//! Reading a date function's arguments: what in them makes it read the clock or the time zone.
//!
//! The rules are those of <https://sqlite.org/lang_datefunc.html>.

use super::verdict::{Base, Nondeterminism, Reason, Role, Site};
use crate::sql::text::{
    token::{Token, TokenKind},
    words::is,
};

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
    /// Whether the tokens of the argument so far begin `coalesce ( 'text' , ? )`.
    coalesced: bool,
    base: Base,
    /// No modifier yet that changes the time.
    unmodified: bool,
}

impl ClockCall {
    pub fn new(open: usize, depth: u32, first: u32, last: u32) -> Self {
        let base = Base::Other;
        let (only, coalesced) = (None, true);
        Self { open, depth, first, last, argument: 0, tokens: 0, only, coalesced, base, unmodified: true }
    }

    /// Takes a token of the current argument.
    pub fn take(&mut self, token: Token, text: &[u8], placeholders: usize, reasons: &mut Vec<Reason>) {
        self.coalesced &= match self.tokens {
            0 => is(text, "COALESCE"),
            1 => token.kind == TokenKind::Open,
            2 => token.kind == TokenKind::Text,
            3 => token.kind == TokenKind::Comma,
            4 => token.kind == TokenKind::Variable,
            5 => token.kind == TokenKind::Close,
            _ => false,
        };
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
        if self.coalesced && self.tokens == 6 && self.argument >= self.first {
            // It is the text, whatever the parameter is: so a bound 'now' is frozen. What the text
            // says was told before the parameter.
            reasons.pop();
        }
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
        self.coalesced = true;
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
