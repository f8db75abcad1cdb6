//! The tokens of a text, cut exactly as SQLite's own tokenizer cuts them.
//!
//! The rules are those of `sqlite3GetToken()`: <https://sqlite.org/src/file/src/tokenize.c>.

mod cutting;

use super::{
    bytes::{CLASS, Class, NAME_BYTE, is_name_byte, is_space},
    trim::{c_string, trimmed_len},
    words::is,
};

/// What a token is, as far as this crate tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in `"…"`, `` `…` `` or `[…]`.
    Quoted,
    /// A text in `'…'`. SQLite also takes it for a name where only a name can stand.
    Text,
    /// A blob, `x'…'`.
    Blob,
    /// An integer or a float.
    Number,
    /// A placeholder.
    Variable,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `;`
    Semi,
    /// `.`
    Dot,
    /// `+` or `-`
    Sign,
    /// Any other operator.
    Operator,
    /// What SQLite calls an unrecognized token.
    Illegal,
    /// The end of the text.
    End,
}

/// One token; offsets are bytes into the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// Whether the statement is over.
    pub fn is_stop(self) -> bool {
        matches!(self.kind, TokenKind::Semi | TokenKind::End)
    }
}

/// Cuts a text into tokens; spaces and comments are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Lexer<'a> {
    /// Reads `sql` up to its first NUL, as SQLite does.
    pub fn new(sql: &'a str) -> Self {
        Self { bytes: c_string(sql).as_bytes(), pos: 0 }
    }

    /// The byte at an offset; 0 past the end.
    #[inline(always)]
    pub fn at(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(0)
    }

    /// The text.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Goes on at an offset where a token may begin.
    pub fn go_to(&mut self, pos: usize) {
        self.pos = pos;
    }

    /// Whether a name before a `(` stands where no function is called: `AS type(…)` in a CAST, and
    /// `FROM table(…)`, a virtual table's hidden columns.
    pub fn names_no_function(&self, name: Token) -> bool {
        let before = self.word_before(name.start);
        match self.slice(before) {
            word if is(word, "FROM") => !is(self.slice(self.word_before(before.start)), "DISTINCT"),
            word => is(word, "AS") || is(word, "JOIN"),
        }
    }

    /// Whether what follows a name and its `(` makes it a common table's: `a, b) AS (`. No more is
    /// read than a list of names, so that calls in calls are not read again and again.
    pub fn names_common_table(mut self) -> bool {
        let mut token = self.next();
        while matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Text | TokenKind::Comma) {
            token = self.next();
        }
        let closed = token.kind == TokenKind::Close;
        let named = self.next();
        let after = self.next();
        let begins = match self.slice(after) {
            word if is(word, "NOT") => true,
            word if is(word, "MATERIALIZED") => self.next().kind == TokenKind::Open,
            _ => after.kind == TokenKind::Open,
        };
        closed && is(self.slice(named), "AS") && begins
    }

    /// The word before an offset, if only spaces stand between; else empty.
    fn word_before(&self, offset: usize) -> Token {
        let before = self.bytes.get(..offset).unwrap_or(&[]);
        let before = &before[..trimmed_len(before)];
        let start = before.iter().rposition(|byte| !is_name_byte(*byte)).map_or(0, |at| at + 1);
        Token { kind: TokenKind::Word, start, end: before.len() }
    }

    /// The bytes of a token.
    #[inline(always)]
    pub fn slice(&self, token: Token) -> &'a [u8] {
        self.bytes.get(token.start..token.end).unwrap_or(&[])
    }

    /// The next token. At the end it is `End`, again and again.
    #[inline(always)]
    pub fn next(&mut self) -> Token {
        loop {
            let start = self.pos;
            let first = self.at(start);
            let (kind, end) = match CLASS[first as usize] {
                Class::Space => {
                    self.skip_space(start + 1);
                    continue;
                }
                Class::Letter => (TokenKind::Word, word_end(self.bytes, start + 1)),
                Class::Comma => (TokenKind::Comma, start + 1),
                Class::Open => (TokenKind::Open, start + 1),
                Class::Close => (TokenKind::Close, start + 1),
                Class::Question => (TokenKind::Variable, self.digits_end(start + 1)),
                Class::Dot if !self.at(start + 1).is_ascii_digit() => (TokenKind::Dot, start + 1),
                Class::Dot | Class::Digit => self.number(start),
                Class::Quote => self.quoted(start, first),
                Class::Semi => (TokenKind::Semi, start + 1),
                Class::Plus => (TokenKind::Sign, start + 1),
                Class::Minus if self.at(start + 1) == b'-' => {
                    self.skip_line(start + 2);
                    continue;
                }
                Class::Slash if self.at(start + 1) == b'*' && self.at(start + 2) != 0 => {
                    self.skip_block(start + 2);
                    continue;
                }
                Class::Bom if self.at(start + 1) == 0xbb && self.at(start + 2) == 0xbf => {
                    self.pos = start + 3;
                    continue;
                }
                _ => self.rare(start, first),
            };
            self.pos = end;
            return Token { kind, start, end };
        }
    }

    #[inline(always)]
    fn skip_space(&mut self, mut i: usize) {
        while is_space(self.at(i)) {
            i += 1;
        }
        self.pos = i;
    }

    /// Where a byte is found from an offset on; else where the text ends.
    fn find(&self, byte: u8, from: usize) -> usize {
        let rest = self.bytes.get(from..).unwrap_or(&[]);
        memchr::memchr(byte, rest).map_or(self.bytes.len(), |at| from + at)
    }

    fn skip_line(&mut self, from: usize) {
        self.pos = self.find(b'\n', from);
    }

    /// An unterminated block comment runs to the end of the text.
    fn skip_block(&mut self, from: usize) {
        self.pos = self.find(b'*', from);
        while self.at(self.pos) != 0 {
            self.pos += 1;
            if self.at(self.pos) == b'/' {
                self.pos += 1;
                return;
            }
            self.pos = self.find(b'*', self.pos);
        }
    }
}

/// Where the name bytes end that follow an offset.
#[inline(always)]
pub fn word_end(bytes: &[u8], from: usize) -> usize {
    let is_name = |byte: u8| NAME_BYTE[usize::from(byte)];
    let mut end = from;
    // Four at a time, so that only every fourth asks whether the text is over.
    while let Some(&[a, b, c, d]) = bytes.get(end..).and_then(<[u8]>::first_chunk) {
        match () {
            () if !is_name(a) => return end,
            () if !is_name(b) => return end + 1,
            () if !is_name(c) => return end + 2,
            () if !is_name(d) => return end + 3,
            () => end += 4,
        }
    }
    while bytes.get(end).is_some_and(|byte| is_name(*byte)) {
        end += 1;
    }
    end
}
