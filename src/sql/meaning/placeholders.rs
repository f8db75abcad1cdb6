//! Numbering placeholders as SQLite does: <https://sqlite.org/lang_expr.html#varparam>.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::classification::Placeholder;
use crate::sql::text::token::Token;

/// The largest `?NNN` taken for a placeholder. SQLite's own limit is set when it is built: 32,766
/// unless told otherwise, 250,000 in Debian's.
pub(crate) const MAX_INDEX: u32 = 250_000;

/// So many placeholders are given room at first, and up to so many a name is looked for among them
/// one by one; beyond it names get a map, so that numbering stays linear.
const FEW: usize = 8;

/// The placeholders of the statement being read.
#[derive(Debug, Default)]
pub(crate) struct Placeholders<'a> {
    found: Vec<Placeholder>,
    largest: u32,
    numbers: Option<HashMap<&'a [u8], u32, FixedState>>,
}

impl<'a> Placeholders<'a> {
    /// Adds one and numbers it; false if SQLite would refuse its number.
    pub fn add(&mut self, sql: &'a [u8], token: Token, ordinal: bool) -> bool {
        let (index, named) = match sql.get(token.start..token.end).unwrap_or_default() {
            [b'?'] => (self.largest + 1, false),
            [b'?', digits @ ..] => (value(digits), false),
            name => (self.named(sql, name), true),
        };
        let accepted = index != 0 && index <= MAX_INDEX;
        if accepted {
            self.push(Placeholder { span: token.start..token.end, index, named, ordinal });
        }
        accepted
    }

    /// Adds a `?`.
    #[inline(always)]
    pub fn add_plain(&mut self, start: usize, ordinal: bool) {
        let index = self.largest + 1;
        self.push(Placeholder { span: start..start + 1, index, named: false, ordinal });
    }

    #[inline(always)]
    fn push(&mut self, placeholder: Placeholder) {
        self.largest = self.largest.max(placeholder.index);
        if self.found.capacity() == 0 {
            self.found = Vec::with_capacity(FEW);
        }
        self.found.push(placeholder);
    }

    /// How many were added.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Those found since the last call; numbering begins anew.
    #[inline]
    pub fn take(&mut self) -> Vec<Placeholder> {
        self.largest = 0;
        self.numbers = None;
        std::mem::take(&mut self.found)
    }

    fn named(&mut self, sql: &'a [u8], name: &'a [u8]) -> u32 {
        let next = self.largest + 1;
        let mut named = self.found.iter().filter(|found| found.named);
        if self.found.len() <= FEW {
            return named.find(|found| text(sql, found) == name).map_or(next, |found| found.index);
        }
        let numbers =
            self.numbers.get_or_insert_with(|| named.map(|found| (text(sql, found), found.index)).collect());
        *numbers.entry(name).or_insert(next)
    }
}

fn text<'a>(sql: &'a [u8], placeholder: &Placeholder) -> &'a [u8] {
    sql.get(placeholder.span.clone()).unwrap_or_default()
}

/// The value of some digits; anything too large is more than any limit.
fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value: u32, digit| {
        value.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')))
    })
}
