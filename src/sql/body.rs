//! The quick way through a statement's body, where nearly all the time of classifying goes.

use super::scan::{NO_LIST, Scan};
use super::token::{Token, TokenKind};
use super::words::RESERVED;

impl Scan<'_> {
    /// Goes to the `;` or the end of the text that ends the statement.
    ///
    /// It notes what stepping would note, but looks at bytes, not tokens, where a byte tells enough.
    pub fn rest(&mut self) {
        let bytes = self.lexer.bytes();
        // The token being looked at is not noted yet: it is read once more.
        let mut here = Here { pos: self.token().start, name: 0, name_end: 0, end: self.last_end };
        loop {
            // One space before a token is so common that it gets no turn of its own.
            here.pos += usize::from(bytes.get(here.pos) == Some(&b' '));
            let byte = bytes.get(here.pos).copied().unwrap_or(0);
            match BODY[usize::from(byte)] {
                Body::Space => here.pos += 1,
                Body::Word => here.end_word(self.lexer.word_end(here.pos + 1)),
                Body::Maybe => match self.lexer.word_end(here.pos + 1) {
                    end if !is_wanted(byte, end - here.pos) => here.end_word(end),
                    _ => here = self.step_from(here),
                },
                Body::Simple => here.end_byte(),
                Body::Open if !self.may_call(here) => {
                    self.depth += 1;
                    here.end_byte();
                }
                Body::Close if self.depth != 0 => {
                    self.depth -= 1;
                    here.end_byte();
                }
                Body::Question if !self.lexer.at(here.pos + 1).is_ascii_digit() => {
                    self.placeholders.add_plain(here.pos, false);
                    here.end_byte();
                }
                Body::Dot if !self.lexer.at(here.pos + 1).is_ascii_digit() => here.end_byte(),
                Body::Open | Body::Close | Body::Question | Body::Dot | Body::Token => {
                    here = self.step_from(here);
                    if self.token().is_stop() {
                        break;
                    }
                }
            }
        }
        self.malformed |= self.depth != 0;
    }

    /// Whether a `(` here follows a name, and not a keyword such as VALUES.
    #[inline(always)]
    fn may_call(&self, here: Here) -> bool {
        let name = Token { kind: TokenKind::Word, start: here.name, end: here.end };
        self.noting_calls && here.name_end == here.end && !RESERVED.contains(self.lexer.slice(name))
    }

    /// Reads and notes a token, and those after it for as long as each matters: in a date function,
    /// and in the terms of ORDER BY or GROUP BY.
    #[inline(never)]
    fn step_from(&mut self, here: Here) -> Here {
        self.lexer.go_to(here.pos);
        self.set_token(self.last_token(here));
        loop {
            self.read();
            if self.token().is_stop() {
                break;
            }
            self.note();
            if self.clock_calls.is_empty() && self.list == NO_LIST {
                break;
            }
        }
        let Token { kind, start, end } = self.token();
        let is_name = matches!(kind, TokenKind::Word | TokenKind::Quoted);
        Here { pos: end, name: start, name_end: if is_name { end } else { 0 }, end }
    }

    fn last_token(&self, here: Here) -> Token {
        let Here { name, name_end, end, .. } = here;
        if name_end != end {
            return Token { kind: TokenKind::Operator, start: end.saturating_sub(1), end };
        }
        let quoted = matches!(self.lexer.at(name), b'"' | b'`' | b'[');
        let kind = if quoted { TokenKind::Quoted } else { TokenKind::Word };
        Token { kind, start: name, end }
    }
}

/// Where `rest` is in a statement's body; offsets are bytes into the text.
#[derive(Clone, Copy)]
struct Here {
    pos: usize,
    /// Where the last name begins, and where it ends.
    name: usize,
    name_end: usize,
    /// Where the last token ends.
    end: usize,
}

impl Here {
    #[inline(always)]
    fn end_byte(&mut self) {
        self.pos += 1;
        self.end = self.pos;
    }

    #[inline(always)]
    fn end_word(&mut self, end: usize) {
        *self = Self { pos: end, name: self.pos, name_end: end, end };
    }
}

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
            b'x' | b'X' => Body::Token,
            first if first.is_ascii_alphabetic() && WANTED[(first & 31) as usize] != 0 => Body::Maybe,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Body::Word,
            _ => Body::Token,
        };
        byte += 1;
    }
    table
};
