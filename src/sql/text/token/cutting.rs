//! Where a token ends that begins like this: what is quoted, numbers, blobs, variables.

use super::{Lexer, TokenKind, word_end};
use crate::sql::text::bytes::{CLASS, Class, is_name_byte, is_space};

impl Lexer<'_> {
    pub(super) fn rare(&self, start: usize, first: u8) -> (TokenKind, usize) {
        let second = self.at(start + 1);
        let length = |two: bool| start + 1 + usize::from(two);
        match CLASS[first as usize] {
            Class::X if second == b'\'' => self.blob(start),
            Class::X | Class::Bom => (TokenKind::Word, word_end(self.bytes, start + 1)),
            Class::Bracket => self.bracketed(start),
            Class::Sigil => self.named_variable(start, first),
            Class::Minus if second == b'>' => {
                (TokenKind::Operator, start + 2 + usize::from(self.at(start + 2) == b'>'))
            }
            Class::Minus => (TokenKind::Sign, start + 1),
            Class::Less => (TokenKind::Operator, length(matches!(second, b'=' | b'>' | b'<'))),
            Class::Greater => (TokenKind::Operator, length(matches!(second, b'=' | b'>'))),
            Class::Equal => (TokenKind::Operator, length(second == b'=')),
            Class::Pipe => (TokenKind::Operator, length(second == b'|')),
            Class::Bang if second == b'=' => (TokenKind::Operator, start + 2),
            Class::Single | Class::Slash => (TokenKind::Operator, start + 1),
            _ if start < self.bytes.len() => (TokenKind::Illegal, start + 1),
            _ => (TokenKind::End, start),
        }
    }

    pub(super) fn quoted(&self, start: usize, quote: u8) -> (TokenKind, usize) {
        let kind = if quote == b'\'' { TokenKind::Text } else { TokenKind::Quoted };
        let mut i = start + 1;
        loop {
            i = self.find(quote, i);
            if self.at(i) != quote {
                return (TokenKind::Illegal, i);
            }
            i += 1;
            if self.at(i) != quote {
                return (kind, i);
            }
            i += 1;
        }
    }

    fn bracketed(&self, start: usize) -> (TokenKind, usize) {
        match self.find(b']', start) {
            end if self.at(end) == 0 => (TokenKind::Illegal, end),
            last => (TokenKind::Quoted, last + 1),
        }
    }

    fn blob(&self, start: usize) -> (TokenKind, usize) {
        let mut i = start + 2;
        while self.at(i).is_ascii_hexdigit() {
            i += 1;
        }
        if self.at(i) == b'\'' && (i - start).is_multiple_of(2) {
            return (TokenKind::Blob, i + 1);
        }
        let end = self.find(b'\'', i);
        (TokenKind::Illegal, end + usize::from(self.at(end) != 0))
    }

    pub(super) fn number(&self, start: usize) -> (TokenKind, usize) {
        let end = self.number_end(start);
        if self.is_hex(start) {
            // Before 3.46 SQLite ends it here, whatever follows; later ones refuse such a text.
            return (TokenKind::Number, end);
        }
        match word_end(self.bytes, end) {
            stop if stop > end => (TokenKind::Illegal, stop),
            _ => (TokenKind::Number, end),
        }
    }

    fn is_hex(&self, start: usize) -> bool {
        let begins = self.at(start) == b'0' && self.at(start + 1) | 0x20 == b'x';
        begins && self.at(start + 2).is_ascii_hexdigit()
    }

    fn number_end(&self, start: usize) -> usize {
        if self.is_hex(start) {
            return self.run_end(start + 3, |byte| byte.is_ascii_hexdigit() || byte == b'_');
        }
        let digit = |byte: u8| byte.is_ascii_digit() || byte == b'_';
        let mut i = self.run_end(start, digit);
        if self.at(i) == b'.' {
            i = self.run_end(i + 1, digit);
        }
        if self.at(i) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.at(i + 1), b'+' | b'-'));
            if self.at(i + 1 + sign).is_ascii_digit() {
                i = self.run_end(i + 2 + sign, digit);
            }
        }
        i
    }

    pub(super) fn digits_end(&self, from: usize) -> usize {
        self.run_end(from, |byte| byte.is_ascii_digit())
    }

    #[inline(always)]
    pub(super) fn run_end(&self, mut i: usize, belongs: impl Fn(u8) -> bool) -> usize {
        while belongs(self.at(i)) {
            i += 1;
        }
        i
    }

    /// `:a`, `@a`, `$a`, `#a`, and TCL's `$a::b(c)`. `#1` is a register of SQLite's own parser.
    pub(super) fn named_variable(&self, start: usize, sigil: u8) -> (TokenKind, usize) {
        let mut i = start + 1;
        let mut named = false;
        loop {
            match self.at(i) {
                byte if is_name_byte(byte) => named = true,
                b'(' if named => return self.tcl_index(i + 1),
                b':' if self.at(i + 1) == b':' => i += 1,
                _ => break,
            }
            i += 1;
        }
        let register = sigil == b'#' && self.at(start + 1).is_ascii_digit();
        let kind = if named && !register { TokenKind::Variable } else { TokenKind::Illegal };
        (kind, i)
    }

    fn tcl_index(&self, from: usize) -> (TokenKind, usize) {
        let end = self.run_end(from, |byte| byte != 0 && byte != b')' && !is_space(byte));
        match self.at(end) {
            b')' => (TokenKind::Variable, end + 1),
            _ => (TokenKind::Illegal, end),
        }
    }
}
