//! The quick way through a statement's body, where nearly all the time of classifying goes.

use super::scan::{NO_LIST, Scan};
use super::token::{Token, TokenKind};
use super::words::RESERVED;

impl Scan<'_> {
    /// Goes to the `;` or the end of the text that ends the statement.
    ///
    /// It notes what stepping would note, but looks at bytes, not tokens, where a byte tells enough.
    pub fn rest(&mut self) {
        let mut here = Here { pos: self.token().end, ..self.here() };
        while !self.token().is_stop() {
            if !self.clock_calls.is_empty() {
                here = self.step_from(here);
                continue;
            }
            // One space before a token is so common that it gets no turn of its own.
            here.pos += usize::from(self.lexer.at(here.pos) == b' ');
            let byte = self.lexer.at(here.pos);
            match BODY[usize::from(byte)] {
                Body::Space => here.pos += 1,
                Body::Word => here.end_word(self.lexer.word_end(here.pos + 1)),
                Body::Maybe => match self.lexer.word_end(here.pos + 1) {
                    end if is_wanted(byte, end - here.pos) => here = self.step_from(here),
                    end => here.end_word(end),
                },
                Body::Comma => {
                    here.pos += 1;
                    here.end_token(here.depth == self.list);
                }
                Body::Open if !self.may_call(here) => {
                    here.pos += 1;
                    here.depth += 1;
                    here.end_token(here.at_term);
                }
                Body::Operator => {
                    here.pos += 1;
                    here.end_token(false);
                }
                Body::Question if !self.lexer.at(here.pos + 1).is_ascii_digit() => {
                    let token = Token { kind: TokenKind::Variable, start: here.pos, end: here.pos + 1 };
                    self.placeholders.add_plain(token, here.at_term);
                    here.pos += 1;
                    here.end_token(false);
                }
                Body::Close if here.depth != 0 && self.list == NO_LIST => {
                    here.pos += 1;
                    here.depth -= 1;
                    here.end_token(false);
                }
                Body::Question | Body::Open | Body::Close | Body::Token => here = self.step_from(here),
            }
        }
        self.malformed |= self.depth != 0;
    }

    /// Whether a `(` here follows a name, and not a keyword such as VALUES.
    #[inline(always)]
    fn may_call(&self, here: Here) -> bool {
        let name = Token { kind: TokenKind::Word, start: here.word, end: here.end };
        self.noting_calls && here.name_end == here.end && !RESERVED.contains(self.lexer.slice(name))
    }

    fn here(&self) -> Here {
        let Token { kind, start, end } = self.token();
        let is_name = matches!(kind, TokenKind::Word | TokenKind::Quoted);
        let name_end = if is_name { end } else { 0 };
        Here { pos: self.lexer.pos(), word: start, name_end, end, depth: self.depth, at_term: self.at_term }
    }

    fn step_from(&mut self, here: Here) -> Here {
        self.lexer.go_to(here.pos);
        let kind = match self.lexer.at(here.word) {
            _ if here.name_end != here.end => TokenKind::Operator,
            b'"' | b'`' | b'[' => TokenKind::Quoted,
            _ => TokenKind::Word,
        };
        self.set_token(Token { kind, start: here.word, end: here.end });
        self.depth = here.depth;
        self.at_term = here.at_term;
        self.step();
        self.here()
    }
}

/// Where `rest` is in a statement's body; offsets are bytes into the text.
#[derive(Clone, Copy)]
struct Here {
    pos: usize,
    /// Where the last name begins, and where it ends.
    word: usize,
    name_end: usize,
    /// Where the last token ends.
    end: usize,
    depth: u32,
    at_term: bool,
}

impl Here {
    #[inline(always)]
    fn end_token(&mut self, at_term: bool) {
        self.end = self.pos;
        self.at_term = at_term;
    }

    #[inline(always)]
    fn end_word(&mut self, end: usize) {
        self.word = self.pos;
        self.pos = end;
        self.name_end = end;
        self.end_token(false);
    }
}

/// For each letter (A is 1) the lengths of the words that are noted and begin with it, as bits: BY,
/// CURRENT_…, FROM, LIMIT, LIKELY and its like, ORDER, RETURNING, SELECT.
const WANTED: [u32; 32] = {
    let mut lengths = [0; 32];
    lengths[2] = 1 << 2;
    lengths[3] = 1 << 12 | 1 << 17;
    lengths[6] = 1 << 4;
    lengths[12] = 1 << 5 | 1 << 6 | 1 << 10;
    lengths[15] = 1 << 5;
    lengths[18] = 1 << 9;
    lengths[19] = 1 << 6;
    lengths[21] = 1 << 8;
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
    Comma,
    Open,
    Close,
    Question,
    /// An operator of one byte, or one that can be taken for two without a difference.
    Operator,
    /// Anything else: the lexer knows.
    Token,
}

static BODY: [Body; 256] = {
    let mut table = [Body::Token; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\n' | b'\t' | b'\r' => Body::Space,
            b',' => Body::Comma,
            b'(' => Body::Open,
            b')' => Body::Close,
            b'?' => Body::Question,
            b'=' | b'<' | b'>' | b'*' | b'%' | b'&' | b'~' => Body::Operator,
            b'x' | b'X' => Body::Token,
            first if first.is_ascii_alphabetic() && WANTED[(first & 31) as usize] != 0 => Body::Maybe,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Body::Word,
            _ => Body::Token,
        };
        byte += 1;
    }
    table
};
