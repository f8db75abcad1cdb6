//! Reading one statement token by token, and noting on the way what is wanted of all statements:
//! placeholders, parentheses, a write's RETURNING.

use super::names::unquote;
use super::placeholders::Placeholders;
use super::token::{Lexer, Token, TokenKind};
use super::words::{RESERVED, is};

/// The depth of no list.
const NO_LIST: u32 = u32::MAX;

/// A cursor over a text's tokens. `token` is the one being looked at.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    sql: &'a str,
    lexer: Lexer<'a>,
    pub token: Token,
    previous: Token,
    pub placeholders: Placeholders<'a>,
    /// The statement is not SQL: an illegal token, unbalanced parentheses, a wrong beginning.
    pub malformed: bool,
    /// Where the last RETURNING outside of all parentheses begins.
    pub returning: Option<usize>,
    /// Where the last token of the statement ends.
    pub last_end: usize,
    depth: u32,
    /// How deep the ORDER BY or GROUP BY being read stands, and those around it.
    list: u32,
    outer_lists: Vec<u32>,
    /// Whether nothing but parentheses and signs stands between here and the beginning of a term
    /// of that list.
    at_term: bool,
}

impl<'a> Scan<'a> {
    pub fn new(sql: &'a str) -> Self {
        Self {
            sql,
            lexer: Lexer::new(sql),
            token: Token { kind: TokenKind::Semi, start: 0, end: 0 },
            previous: Token { kind: TokenKind::Semi, start: 0, end: 0 },
            placeholders: Placeholders::default(),
            malformed: false,
            returning: None,
            last_end: 0,
            depth: 0,
            list: NO_LIST,
            outer_lists: Vec::new(),
            at_term: false,
        }
    }

    /// Begins a statement, at the next token that is no `;`; false at the end of the text.
    pub fn begin(&mut self) -> bool {
        self.malformed = false;
        self.returning = None;
        self.depth = 0;
        self.list = NO_LIST;
        self.outer_lists.clear();
        self.at_term = false;
        while self.token.kind == TokenKind::Semi {
            self.token = self.lexer.next();
        }
        // The first token was read while the statement before it ended: note it now.
        self.note();
        self.token.kind != TokenKind::End
    }

    /// The token's bytes.
    pub fn word(&self) -> &'a [u8] {
        self.lexer.slice(self.token)
    }

    /// Goes to the next token, unless the statement is over.
    #[inline]
    pub fn advance(&mut self) {
        if !self.token.is_stop() {
            self.step();
        }
    }

    /// Goes to the next token, also over a `;`: in a trigger it ends no statement.
    #[inline(always)]
    pub fn step(&mut self) {
        self.last_end = self.token.end;
        self.previous = self.token;
        self.token = self.lexer.next();
        self.note();
    }

    /// Goes to the `;` or the end of the text that ends the statement.
    ///
    /// It notes what stepping would note, but looks at bytes, not tokens, where a byte tells
    /// enough: this is where nearly all the time of classifying goes.
    pub fn rest(&mut self) {
        let mut here = Here { pos: self.token.end, ..self.here() };
        while !self.token.is_stop() {
            let byte = self.lexer.at(here.pos);
            match BODY[usize::from(byte)] {
                Body::Space => here.pos += 1,
                Body::Word => {
                    here.word = here.pos;
                    here.pos = self.lexer.word_end(here.pos + 1);
                    here.end_token(false);
                }
                Body::Comma => {
                    here.pos += 1;
                    here.end_token(here.depth == self.list);
                }
                Body::Open => {
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
                Body::Question | Body::Close | Body::Token => here = self.step_from(here),
            }
        }
        self.malformed |= self.depth != 0;
    }

    fn here(&self) -> Here {
        let Token { start, end, .. } = self.token;
        Here { pos: self.lexer.pos(), word: start, end, depth: self.depth, at_term: self.at_term }
    }

    fn step_from(&mut self, here: Here) -> Here {
        self.lexer.go_to(here.pos);
        self.token = Token { kind: TokenKind::Word, start: here.word, end: here.end };
        self.depth = here.depth;
        self.at_term = here.at_term;
        self.step();
        self.here()
    }

    /// Whether the token is this keyword.
    #[inline(always)]
    pub fn at(&self, keyword: &str) -> bool {
        self.token.kind == TokenKind::Word && is(self.word(), keyword)
    }

    /// Steps over a keyword if it stands here.
    pub fn eat(&mut self, keyword: &str) -> bool {
        let here = self.at(keyword);
        if here {
            self.advance();
        }
        here
    }

    /// Steps over a keyword that must stand here.
    pub fn expect(&mut self, keyword: &str) {
        self.malformed |= !self.eat(keyword);
    }

    /// Steps over any of these keywords if it stands here.
    pub fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.eat(keyword))
    }

    /// Steps over a name that must stand here.
    pub fn name(&mut self) -> Option<Token> {
        let token = self.token;
        let is_name = match token.kind {
            TokenKind::Word => !RESERVED.contains(self.word()),
            TokenKind::Quoted | TokenKind::Text => true,
            _ => false,
        };
        if !is_name {
            self.malformed = true;
            return None;
        }
        self.advance();
        Some(token)
    }

    /// A token as the name it stands for.
    pub fn unquoted(&self, token: Token) -> Box<str> {
        unquote(self.sql.get(token.start..token.end).unwrap_or_default())
    }

    /// Steps over a pair of parentheses and what is in it, which must stand here.
    pub fn parentheses(&mut self) {
        if self.token.kind != TokenKind::Open {
            self.malformed = true;
            return;
        }
        let outside = self.depth - 1;
        while !self.token.is_stop() && self.depth != outside {
            self.advance();
        }
        self.advance();
    }

    #[inline]
    fn note(&mut self) {
        match self.token.kind {
            TokenKind::Word => self.note_word(),
            TokenKind::Comma => self.at_term = self.depth == self.list,
            TokenKind::Open => self.depth += 1,
            TokenKind::Close => self.note_close(),
            TokenKind::Sign => {}
            TokenKind::Variable => {
                let numbered = self.placeholders.add(self.sql.as_bytes(), self.token, self.at_term);
                self.malformed |= !numbered;
                self.at_term = false;
            }
            TokenKind::Illegal => self.malformed = true,
            _ => self.at_term = false,
        }
    }

    #[inline]
    fn note_close(&mut self) {
        self.at_term = false;
        match self.depth.checked_sub(1) {
            Some(depth) => self.depth = depth,
            None => self.malformed = true,
        }
        if self.list != NO_LIST && self.list > self.depth {
            self.list = self.outer_lists.pop().unwrap_or(NO_LIST);
        }
    }

    #[inline]
    fn note_word(&mut self) {
        let word = self.word();
        match word.len() {
            2 if is(word, "BY") => self.note_by(),
            5 if self.list == self.depth && is(word, "LIMIT") => {
                self.list = self.outer_lists.pop().unwrap_or(NO_LIST);
            }
            // It is reserved since SQLite 3.35: unquoted, it is no column's name.
            9 if self.depth == 0 && is(word, "RETURNING") => {
                self.returning = Some(self.token.start);
                self.at_term = false;
            }
            // SQLite looks through these for a column's position.
            6 | 8 | 10 if self.at_term && is_hint(word) => {}
            _ => self.at_term = false,
        }
    }

    fn note_by(&mut self) {
        let before = self.lexer.slice(self.previous);
        if !(is(before, "ORDER") || is(before, "GROUP")) {
            self.at_term = false;
            return;
        }
        if self.list != self.depth {
            if self.list != NO_LIST {
                self.outer_lists.push(self.list);
            }
            self.list = self.depth;
        }
        self.at_term = true;
    }
}

fn is_hint(word: &[u8]) -> bool {
    is(word, "LIKELY") || is(word, "UNLIKELY") || is(word, "LIKELIHOOD")
}

/// Where `rest` is in a statement's body; offsets are bytes into the text.
#[derive(Clone, Copy)]
struct Here {
    pos: usize,
    /// Where the last word begins.
    word: usize,
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
}

/// What a byte that may begin a token means in a statement's body.
#[derive(Clone, Copy)]
enum Body {
    Space,
    /// Begins a word that is none of those noted.
    Word,
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
            b'b' | b'B' | b'l' | b'L' | b'r' | b'R' | b'u' | b'U' | b'x' | b'X' => Body::Token,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Body::Word,
            _ => Body::Token,
        };
        byte += 1;
    }
    table
};
