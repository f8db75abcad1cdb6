//! The quick way through a statement's body, where nearly all the time of classifying goes.

use super::scan::{NO_LIST, Scan};
use crate::sql::text::{
    bytes::is_space,
    token::{Token, TokenKind, word_end},
    words::{RESERVED, is},
};

impl Scan<'_> {
    /// Goes to the `;` or the end of the text that ends the statement.
    ///
    /// It notes what stepping would note, but looks at bytes, not tokens, where a byte tells enough.
    pub fn rest(&mut self) {
        let bytes = self.lexer.bytes();
        // The token being looked at is not noted yet: it is read once more.
        let mut pos = self.token().start;
        // Where the last token ends, and where it begins if it is a name.
        let (mut end, mut name) = (self.last_end, NO_NAME);
        loop {
            let Some(&byte) = bytes.get(pos) else {
                self.end_at(end);
                break;
            };
            match BODY[usize::from(byte)] {
                Body::Space => {
                    pos += 1;
                    continue;
                }
                Body::Word => {
                    name = pos;
                    end = word_end(bytes, pos + 1);
                    pos = end;
                    continue;
                }
                Body::Maybe => {
                    let word = word_end(bytes, pos + 1);
                    if !is_wanted(byte, word - pos) {
                        name = pos;
                        end = word;
                        pos = end;
                        continue;
                    }
                    self.step_from(pos, name, end);
                }
                Body::Values => {
                    end = word_end(bytes, pos + 1);
                    let word = bytes.get(pos..end).unwrap_or_default();
                    name = if is(word, "VALUES") { NO_NAME } else { pos };
                    pos = end;
                    continue;
                }
                Body::Open if self.may_call(name, end) => self.step_from(pos, name, end),
                Body::Close if self.depth == 0 => self.step_from(pos, name, end),
                Body::Dot | Body::Question if bytes.get(pos + 1).is_some_and(u8::is_ascii_digit) => {
                    self.step_from(pos, name, end);
                }
                // It goes on with a run of spaces, and begins none.
                Body::Token if byte == VERTICAL_TAB && self.follows_space(pos) => {
                    pos += 1;
                    continue;
                }
                Body::Token => self.step_from(pos, name, end),
                simple => {
                    match simple {
                        Body::Open => self.depth += 1,
                        Body::Close => self.depth -= 1,
                        Body::Question => self.placeholders.add_plain(pos, false),
                        _ => {}
                    }
                    name = NO_NAME;
                    pos += 1;
                    end = pos;
                    continue;
                }
            }
            let token = self.token();
            if token.is_stop() {
                break;
            }
            let is_name = matches!(token.kind, TokenKind::Word | TokenKind::Quoted);
            name = if is_name { token.start } else { NO_NAME };
            end = token.end;
            pos = end;
        }
        self.malformed |= self.depth != 0;
    }

    fn follows_space(&self, pos: usize) -> bool {
        pos.checked_sub(1).is_some_and(|before| is_space(self.lexer.at(before)))
    }

    /// Whether a `(` here follows a name, and not a keyword such as IN.
    #[inline(always)]
    fn may_call(&self, name: usize, end: usize) -> bool {
        let word = Token { kind: TokenKind::Word, start: name, end };
        self.noting_calls && name != NO_NAME && !RESERVED.contains(self.lexer.slice(word))
    }

    /// Reads and notes a token, and those after it for as long as each matters: in a date function,
    /// and in the terms of ORDER BY or GROUP BY.
    #[inline(never)]
    fn step_from(&mut self, pos: usize, name: usize, end: usize) {
        self.lexer.go_to(pos);
        let kind = match self.lexer.at(name) {
            _ if name == NO_NAME => TokenKind::Operator,
            b'"' | b'`' | b'[' => TokenKind::Quoted,
            _ => TokenKind::Word,
        };
        self.previous = Token { kind, start: name.min(end.saturating_sub(1)), end };
        self.read();
        self.last_end = end;
        while !self.token().is_stop() {
            self.note();
            if self.clock_calls.is_empty() && self.list == NO_LIST {
                return;
            }
            self.previous = self.token();
            self.read();
        }
    }
}

const VERTICAL_TAB: u8 = 0x0b;

/// Where a name begins if there is none.
const NO_NAME: usize = usize::MAX;

/// For each letter (A is 1) the lengths of the words that are noted and begin with it, as bits: BY,
/// CURRENT_…, FROM, LIMIT, ORDER, RETURNING, SELECT.
const WANTED: [u32; 32] = {
    let mut lengths = [0; 32];
    lengths[2] = 1 << 2;
    lengths[3] = 1 << 12 | 1 << 17;
    lengths[6] = 1 << 4;
    lengths[12] = 1 << 5;
    lengths[15] = 1 << 5;
    lengths[18] = 1 << 9;
    lengths[19] = 1 << 6;
    lengths
};

/// Whether a word that begins with this letter may be one of those noted.
#[inline(always)]
fn is_wanted(first: u8, len: usize) -> bool {
    len < 32 && WANTED[usize::from(first & 31)] >> len & 1 != 0
}

/// What a byte that may begin a token means in a statement's body.
#[derive(Clone, Copy)]
enum Body {
    Space,
    /// Begins a word that is none of those noted.
    Word,
    /// Begins a word that may be.
    Maybe,
    /// Begins a word that may be VALUES, the keyword that stands most often before a `(`.
    Values,
    /// A comma, an operator of one byte, or one that can be taken for two without a difference.
    Simple,
    Open,
    Close,
    Question,
    Dot,
    /// Anything else: the lexer knows.
    Token,
}

static BODY: [Body; 256] = {
    let mut table = [Body::Token; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\n' | b'\t' | b'\r' => Body::Space,
            b',' | b'=' | b'<' | b'>' | b'*' | b'%' | b'&' | b'~' => Body::Simple,
            b'(' => Body::Open,
            b')' => Body::Close,
            b'?' => Body::Question,
            b'.' => Body::Dot,
            b'v' | b'V' => Body::Values,
            b'x' | b'X' => Body::Token,
            first if first.is_ascii_alphabetic() && WANTED[(first & 31) as usize] != 0 => Body::Maybe,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Body::Word,
            _ => Body::Token,
        };
        byte += 1;
    }
    table
};
