//! Reading one statement token by token, and noting on the way what is wanted of all statements:
//! placeholders, parentheses, a write's RETURNING.

use std::borrow::Cow;

use super::placeholders::Placeholders;
use crate::sql::{
    determinism::{
        clock_call::ClockCall,
        verdict::{Clauses, Reason},
    },
    text::{
        names::unquoted,
        token::{Lexer, Token, TokenKind},
        words::{RESERVED, is},
    },
};

/// The depth of no list.
pub const NO_LIST: u32 = u32::MAX;

/// The names a statement's beginning gives.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Names {
    pub schema: Option<Token>,
    pub table: Option<Token>,
    pub savepoint: Option<Token>,
}

/// A cursor over a text's tokens.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    pub sql: &'a str,
    pub lexer: Lexer<'a>,
    /// The token being looked at.
    token: Token,
    /// The token noted before it.
    pub previous: Token,
    pub names: Names,
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
    pub clock_calls: Vec<ClockCall>,
    /// Where the last token of the statement ends.
    pub last_end: usize,
    pub depth: u32,
    /// How deep the ORDER BY or GROUP BY being read stands, and those around it.
    pub list: u32,
    pub outer_lists: Vec<u32>,
    /// Whether nothing but parentheses and signs stands between here and the beginning of a term
    /// of that list.
    pub at_term: bool,
}

impl<'a> Scan<'a> {
    pub fn new(sql: &'a str) -> Self {
        Self {
            sql,
            lexer: Lexer::new(sql),
            token: Token { kind: TokenKind::Semi, start: 0, end: 0 },
            previous: Token { kind: TokenKind::Semi, start: 0, end: 0 },
            names: Names::default(),
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
        self.names = Names::default();
        self.noting_calls = false;
        self.clauses = Clauses::default();
        self.clock_calls.clear();
        self.depth = 0;
        self.list = NO_LIST;
        self.outer_lists.clear();
        self.at_term = false;
        while self.token().kind == TokenKind::Semi {
            self.read();
        }
        self.token().kind != TokenKind::End
    }

    /// The token being looked at.
    #[inline(always)]
    pub fn token(&self) -> Token {
        self.token
    }

    /// The token's bytes.
    pub fn word(&self) -> &'a [u8] {
        self.lexer.slice(self.token())
    }

    /// Goes to the next token without noting this one, which is a keyword or a name, unless the
    /// statement is over.
    #[inline]
    pub fn advance(&mut self) {
        if !self.token().is_stop() {
            self.read();
        }
    }

    /// Notes the token and goes to the next one, also over a `;`: in a trigger it ends no statement.
    pub fn step(&mut self) {
        self.note();
        self.previous = self.token;
        self.read();
    }

    #[inline(never)]
    pub fn read(&mut self) {
        self.last_end = self.token.end;
        self.token = self.lexer.next();
    }

    /// Is at the end of the text; the last token ends at an offset.
    pub fn end_at(&mut self, last_end: usize) {
        self.last_end = last_end;
        let end = self.lexer.bytes().len();
        self.lexer.go_to(end);
        self.token = Token { kind: TokenKind::End, start: end, end };
    }

    /// Whether the token is this keyword.
    #[inline(always)]
    pub fn at(&self, keyword: &str) -> bool {
        self.token().kind == TokenKind::Word && is(self.word(), keyword)
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
    #[inline(always)]
    pub fn name(&mut self) -> Option<Token> {
        let token = self.token();
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
    pub fn unquoted(&self, token: Token) -> Cow<'a, str> {
        unquoted(self.sql.get(token.start..token.end).unwrap_or_default())
    }

    /// Steps over a pair of parentheses and what is in it, which must stand here.
    pub fn parentheses(&mut self) {
        if self.token().kind != TokenKind::Open {
            self.malformed = true;
            return;
        }
        let outside = self.depth;
        self.depth += 1;
        self.previous = self.token;
        self.advance();
        while !self.token().is_stop() && self.depth != outside {
            self.step();
        }
    }
}
