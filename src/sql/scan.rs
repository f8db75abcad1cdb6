//! Reading one statement token by token, and noting on the way what is wanted of all statements:
//! placeholders, parentheses, a write's RETURNING.

use super::determinism::{Clauses, ClockCall, Nondeterminism, Reason, Site};
use super::functions::{Function, function};
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
    /// Whether calls are looked at: not where names stand before `(` that are no functions.
    pub noting_calls: bool,
    /// What may differ on a replica, as far as noted.
    pub reasons: Vec<Reason>,
    pub clauses: Clauses,
    /// The calls of date functions around the token, innermost last.
    clock_calls: Vec<ClockCall>,
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
            noting_calls: false,
            reasons: Vec::new(),
            clauses: Clauses::default(),
            clock_calls: Vec::new(),
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
        self.noting_calls = false;
        self.clauses = Clauses::default();
        self.clock_calls.clear();
        self.depth = 0;
        self.list = NO_LIST;
        self.outer_lists.clear();
        self.at_term = false;
        while self.token.kind == TokenKind::Semi {
            self.step();
        }
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
    #[inline(never)]
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
            if !self.clock_calls.is_empty() {
                here = self.step_from(here);
                continue;
            }
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
        let Token { kind, start, end } = self.token;
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
        self.token = Token { kind, start: here.word, end: here.end };
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
    #[inline]
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

    #[inline(always)]
    fn note(&mut self) {
        let in_clock_call = !self.clock_calls.is_empty();
        match self.token.kind {
            TokenKind::Word => self.note_word(),
            TokenKind::Comma => self.at_term = self.depth == self.list,
            TokenKind::Open => self.note_open(),
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
        if in_clock_call {
            self.note_in_clock_call();
        }
    }

    fn note_open(&mut self) {
        self.depth += 1;
        if self.noting_calls && matches!(self.previous.kind, TokenKind::Word | TokenKind::Quoted) {
            self.note_call(self.previous);
        }
    }

    fn note_call(&mut self, name: Token) {
        let function = match name.kind {
            TokenKind::Quoted => function(self.unquoted(name).as_bytes()),
            _ => function(self.lexer.slice(name)),
        };
        let what = match function {
            Function::Pure => return,
            Function::Clock { first, last } => {
                let call = ClockCall::new(self.token.start, self.depth, first, last);
                return self.clock_calls.push(call);
            }
            Function::Random | Function::RandomBlob => Nondeterminism::Random,
            Function::LastInsertRowid | Function::Changes | Function::TotalChanges => {
                Nondeterminism::Connection
            }
            Function::Build => Nondeterminism::Build,
            Function::Unknown if self.lexer.names_no_function(name) => return,
            Function::Unknown => Nondeterminism::UnknownFunction,
        };
        self.reasons.push(Reason { what, span: name.start..name.end, site: Site::Call(function) });
    }

    fn note_in_clock_call(&mut self) {
        let (text, before) = (self.lexer.slice(self.token), self.lexer.slice(self.previous));
        let Some(call) = self.clock_calls.last_mut() else { return };
        match self.token.kind {
            TokenKind::Open if call.open == self.token.start => {}
            TokenKind::Comma if self.depth == call.depth => call.end_argument(before, &mut self.reasons),
            TokenKind::Close if self.depth < call.depth => {
                if let Some(call) = self.clock_calls.pop() {
                    call.end(self.token.start, before, &mut self.reasons);
                }
            }
            _ => call.take(self.token, text, self.placeholders.count(), &mut self.reasons),
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
            2 if is(word, "BY") => return self.note_by(),
            // SQLite looks through these for a column's position.
            6 | 8 | 10 if self.at_term && is_hint(word) => return,
            5 if self.list == self.depth && is(word, "LIMIT") => {
                self.list = self.outer_lists.pop().unwrap_or(NO_LIST);
            }
            12 | 17 if self.noting_calls => self.note_clock_keyword(word),
            _ => {}
        }
        self.at_term = false;
        if self.depth == 0 {
            self.note_clause(word);
        }
    }

    fn note_clause(&mut self, word: &[u8]) {
        match word.len() {
            4 if is(word, "FROM") => self.clauses.from = true,
            5 if is(word, "ORDER") => self.clauses.order = true,
            5 if is(word, "LIMIT") => self.clauses.limit = Some(self.token),
            6 if is(word, "SELECT") => self.clauses.select = Some(self.token),
            // It is reserved since SQLite 3.35: unquoted, it is no column's name.
            9 if is(word, "RETURNING") => self.returning = Some(self.token.start),
            _ => {}
        }
    }

    fn note_clock_keyword(&mut self, word: &[u8]) {
        let before = self.lexer.slice(self.previous);
        let is_name = before == b"." || is(before, "AS") || is(before, "SET");
        let is_clock = is(word, "CURRENT_TIMESTAMP") || is(word, "CURRENT_DATE") || is(word, "CURRENT_TIME");
        if is_clock && !is_name {
            let Token { start, end, .. } = self.token;
            let reason = Reason { what: Nondeterminism::Clock, span: start..end, site: Site::Keyword };
            self.reasons.push(reason);
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
