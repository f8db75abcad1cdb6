//! Numbering placeholders as SQLite does: <https://sqlite.org/lang_expr.html#varparam>.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::classify::Placeholder;
use super::token::Token;

/// The largest `?NNN` taken for a placeholder. SQLite's own limit is set when it is built: 32,766
/// unless told otherwise, 250,000 in Debian's.
pub(crate) const MAX_INDEX: u32 = 250_000;

/// Up to this many placeholders are kept without allocating, and a name is looked for among them
/// one by one; beyond it names get a map, so that numbering stays linear.
const FEW: usize = 12;

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    start: usize,
    end: usize,
    index: u32,
    named: bool,
    ordinal: bool,
}

/// The placeholders of the statement being read.
#[derive(Debug, Default)]
pub(crate) struct Placeholders<'a> {
    few: [Mark; FEW],
    count: usize,
    many: Vec<Mark>,
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
            self.push(Mark { start: token.start, end: token.end, index, named, ordinal });
        }
        accepted
    }

    /// Adds a `?`.
    #[inline(always)]
    pub fn add_plain(&mut self, token: Token, ordinal: bool) {
        let index = self.largest + 1;
        self.push(Mark { start: token.start, end: token.end, index, named: false, ordinal });
    }

    #[inline(always)]
    fn push(&mut self, mark: Mark) {
        self.largest = self.largest.max(mark.index);
        match self.few.get_mut(self.count) {
            Some(slot) => *slot = mark,
            None => self.many.push(mark),
        }
        self.count += 1;
    }

    /// How many were added.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Those found since the last call; numbering begins anew.
    #[inline]
    pub fn take(&mut self) -> Box<[Placeholder]> {
        let count = std::mem::take(&mut self.count);
        self.largest = 0;
        if count == 0 {
            return Box::default();
        }
        self.numbers = None;
        let mut placeholders = Vec::with_capacity(count);
        placeholders.extend(self.few.iter().take(count).map(placeholder));
        placeholders.extend(self.many.drain(..).as_slice().iter().map(placeholder));
        placeholders.into_boxed_slice()
    }

    fn named(&mut self, sql: &'a [u8], name: &'a [u8]) -> u32 {
        let next = self.largest + 1;
        let mut named = self.few.iter().take(self.count).filter(|mark| mark.named);
        if self.count < FEW {
            return named.find(|mark| text(sql, mark) == name).map_or(next, |mark| mark.index);
        }
        let numbers =
            self.numbers.get_or_insert_with(|| named.map(|mark| (text(sql, mark), mark.index)).collect());
        *numbers.entry(name).or_insert(next)
    }
}

fn text<'a>(sql: &'a [u8], mark: &Mark) -> &'a [u8] {
    sql.get(mark.start..mark.end).unwrap_or_default()
}

fn placeholder(mark: &Mark) -> Placeholder {
    let Mark { start, end, index, named, ordinal } = *mark;
    Placeholder { span: start..end, index, named, ordinal }
}

/// The value of some digits; anything too large is more than any limit.
fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value: u32, digit| {
        value.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')))
    })
}
