//! How a call stands in its statement, and how often it is evaluated there.

use std::ops::Range;

use crate::sql::{
    determinism::verdict::Reason,
    meaning::classification::Statement,
    text::{
        token::{Lexer, TokenKind},
        words::is,
    },
};

/// A call without arguments, or with one that is an integer literal.
pub struct Call {
    pub argument: Option<i64>,
    pub end: usize,
}

impl Call {
    /// The call whose name is `reason`'s, in the text that `lexer` reads.
    pub fn at(mut lexer: Lexer<'_>, reason: &Reason) -> Option<Self> {
        lexer.go_to(reason.span.end);
        if lexer.next().kind != TokenKind::Open {
            return None;
        }
        let mut token = lexer.next();
        let mut argument = None;
        if token.kind == TokenKind::Number {
            argument = Some(std::str::from_utf8(lexer.slice(token)).ok()?.parse().ok()?);
            token = lexer.next();
        }
        let is_over = token.kind == TokenKind::Close;
        is_over.then_some(Self { argument, end: token.end })
    }
}

/// The rows of an INSERT … VALUES in which every expression is evaluated exactly once.
pub struct ValuesRows {
    pub span: Range<usize>,
    pub rows: usize,
}

impl ValuesRows {
    /// None where there are no such rows, or where a SELECT stands in them or before them.
    pub fn of(sql: &str, statement: &Statement) -> Option<Self> {
        if statement.verb != "INSERT" {
            return None;
        }
        let from = statement.span.start;
        let text = sql.get(statement.span.clone())?;
        let mut lexer = Lexer::new(text);
        let (mut depth, mut start, mut rows) = (0_u32, None, 1);
        loop {
            let token = lexer.next();
            let word = lexer.slice(token);
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth = depth.saturating_sub(1),
                TokenKind::Comma if depth == 0 && start.is_some() => rows += 1,
                TokenKind::Word if is(word, "SELECT") && (depth == 0 || start.is_some()) => return None,
                TokenKind::Word if depth == 0 && is(word, "VALUES") => start = Some(from + token.end),
                TokenKind::Word
                    if depth == 0 && start.is_some() && (is(word, "ON") || is(word, "RETURNING")) =>
                {
                    return Some(Self { span: start?..from + token.start, rows });
                }
                TokenKind::End => return Some(Self { span: start?..from + token.end, rows }),
                _ => {}
            }
        }
    }
}
