//! What is noted of every token on the way: placeholders, parentheses, the lists of ORDER BY and
//! GROUP BY, a write's own RETURNING, and what may differ on a replica.

use super::scan::{NO_LIST, Scan};
use crate::sql::{
    determinism::{
        clock_call::ClockCall,
        clock_names::is_clock,
        functions::{Function, function},
        verdict::{Nondeterminism, Reason, Site},
    },
    text::{
        token::{Token, TokenKind},
        words::is,
    },
};

impl Scan<'_> {
    #[inline(always)]
    pub fn note(&mut self) {
        let in_clock_call = !self.clock_calls.is_empty();
        match self.token().kind {
            TokenKind::Word => self.note_word(),
            TokenKind::Comma => self.at_term = self.depth == self.list,
            TokenKind::Open => self.note_open(),
            TokenKind::Close => self.note_close(),
            TokenKind::Sign => {}
            TokenKind::Variable => {
                let numbered = self.placeholders.add(self.sql.as_bytes(), self.token(), self.at_term);
                self.malformed |= !numbered;
                self.at_term = false;
            }
            TokenKind::Number => self.note_number(),
            TokenKind::Illegal => self.malformed = true,
            _ => self.at_term = false,
        }
        if in_clock_call {
            self.note_in_clock_call();
        }
    }

    /// `0x1_F` is 31 since SQLite 3.46, and was `0x1 AS _F` before.
    fn note_number(&mut self) {
        self.at_term = false;
        let (token, digits) = (self.token(), self.word());
        if self.noting_calls && matches!(digits, [b'0', b'x' | b'X', ..]) && digits.contains(&b'_') {
            let span = token.start..token.end;
            self.reasons.push(Reason { what: Nondeterminism::Build, span, site: Site::Fixed });
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
            _ if self.lexer.names_common_table() => return,
            Function::Clock { first, last } => {
                let call = ClockCall::new(self.token().start, self.depth, first, last);
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
        let token = self.token();
        let (text, before) = (self.lexer.slice(self.token()), self.lexer.slice(self.previous));
        let Some(call) = self.clock_calls.last_mut() else { return };
        match token.kind {
            TokenKind::Open if call.open == token.start => {}
            TokenKind::Comma if self.depth == call.depth => call.end_argument(before, &mut self.reasons),
            TokenKind::Close if self.depth < call.depth => {
                if let Some(call) = self.clock_calls.pop() {
                    call.end(token.start, before, &mut self.reasons);
                }
            }
            _ => call.take(token, text, self.placeholders.count(), &mut self.reasons),
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
            5 if is(word, "LIMIT") => self.clauses.limit = Some(self.token()),
            6 if is(word, "SELECT") => self.clauses.select = Some(self.token()),
            // It is reserved since SQLite 3.35: unquoted, it is no column's name.
            9 if is(word, "RETURNING") => self.returning = Some(self.token().start),
            _ => {}
        }
    }

    fn note_clock_keyword(&mut self, word: &[u8]) {
        // Whether it is a column's name is asked when the statement is over.
        if is_clock(word) {
            let Token { start, end, .. } = self.token();
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
