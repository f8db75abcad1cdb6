//! Numbering placeholders as SQLite does: <https://sqlite.org/lang_expr.html#varparam>.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::classify::Placeholder;
use super::token::Token;

/// The largest `?NNN` taken for a placeholder. SQLite's own limit is set when it is built: 32,766
/// unless told otherwise, 250,000 in Debian's.
pub(crate) const MAX_INDEX: u32 = 250_000;

/// Up to this many placeholders a name is looked for one by one; a statement of many gets a map,
/// so that numbering stays linear.
const LINEAR: usize = 16;

/// The placeholders of the statement being read.
#[derive(Debug, Default)]
pub(crate) struct Placeholders<'a> {
    found: Vec<Placeholder>,
    largest: u32,
    numbers: Option<HashMap<&'a str, u32, FixedState>>,
}

impl<'a> Placeholders<'a> {
    /// Adds one and numbers it; false if SQLite would refuse its number.
    #[inline]
    pub fn add(&mut self, sql: &'a str, token: Token, ordinal: bool) -> bool {
        let span = token.start..token.end;
        let name = sql.get(span.clone()).unwrap_or_default();
        let (index, named) = match name.as_bytes() {
            [b'?'] => (self.largest + 1, false),
            [b'?', digits @ ..] => (number(digits), false),
            _ => (self.named(sql, name), true),
        };
        if index == 0 || index > MAX_INDEX {
            return false;
        }
        self.largest = self.largest.max(index);
        if self.found.capacity() == 0 {
            self.found.reserve_exact(8);
        }
        self.found.push(Placeholder {
            span,
            index,
            named,
            ordinal,
        });
        true
    }

    /// Those found since the last call; numbering begins anew.
    #[inline]
    pub fn take(&mut self) -> Box<[Placeholder]> {
        self.largest = 0;
        self.numbers = None;
        std::mem::take(&mut self.found).into_boxed_slice()
    }

    fn named(&mut self, sql: &'a str, name: &'a str) -> u32 {
        if self.numbers.is_none() && self.found.len() < LINEAR {
            let same = self
                .found
                .iter()
                .find(|p| p.named && sql.get(p.span.clone()) == Some(name));
            return same.map_or(self.largest + 1, |p| p.index);
        }
        let found = &self.found;
        let numbers = self.numbers.get_or_insert_with(|| {
            let named = found.iter().filter(|p| p.named);
            named
                .map(|p| (sql.get(p.span.clone()).unwrap_or_default(), p.index))
                .collect()
        });
        *numbers.entry(name).or_insert(self.largest + 1)
    }
}

/// The value of some digits; anything too large is more than any limit.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value: u32, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u32::from(digit.wrapping_sub(b'0')))
    })
}
