//! What a SQL text does: its statements, and for each its kind, verb, table and placeholders.

use std::ops::Range;

use super::{
    classification::{Classification, Kind, Statement},
    reserved::names_ours,
    scan::Scan,
    statement::{Head, head},
};
use crate::sql::{
    determinism::{
        clock_names::clock_names,
        verdict::{Reason, Site},
    },
    text::token::Token,
};

/// Reads a text as SQLite would and tells what each of its statements does.
///
/// One pass, no recursion, in time linear in the text. It never fails: what is not SQL is
/// [`Kind::Unknown`]. It reads up to the first NUL, where SQLite stops too.
///
/// ```
/// use afterquery::sql::{Kind, classify};
///
/// let found = classify("WITH old AS (SELECT 1) DELETE FROM main.[users] WHERE id = ?");
/// let write = &found.statements[0];
/// assert_eq!((write.kind, write.verb), (Kind::Write, "DELETE"));
/// assert_eq!(write.table.as_deref(), Some("users"));
/// ```
pub fn classify(sql: &str) -> Classification<'_> {
    let mut scan = Scan::new(sql);
    let mut statements = Vec::new();
    while scan.begin() {
        if statements.capacity() == 0 {
            statements.reserve_exact(1);
        }
        statements.push(statement(&mut scan));
    }
    Classification { statements }
}

fn statement<'a>(scan: &mut Scan<'a>) -> Statement<'a> {
    let start = scan.token().start;
    let Head { kind, verb, temp } = head(scan);
    scan.rest();
    let is_known = !scan.malformed;
    let kind = if is_known { kind } else { Kind::Unknown };
    let name = |token: Option<Token>| token.filter(|_| is_known).map(|token| scan.unquoted(token));
    let span = start..scan.last_end;
    let writes = !matches!(kind, Kind::Read | Kind::Txn | Kind::Other);
    Statement {
        kind,
        verb,
        reserved: writes && names_ours(scan.sql, span.clone()),
        schema: name(scan.names.schema),
        table: name(scan.names.table),
        savepoint: name(scan.names.savepoint),
        temp: temp && is_known,
        returning: scan.returning.filter(|_| kind == Kind::Write),
        placeholders: scan.placeholders.take(),
        reasons: reasons(scan, kind, verb, &span),
        span,
    }
}

fn reasons(scan: &mut Scan<'_>, kind: Kind, verb: &str, span: &Range<usize>) -> Box<[Reason]> {
    let of_clauses = if kind == Kind::Write { scan.clauses.reason(verb) } else { None };
    if scan.reasons.is_empty() && of_clauses.is_none() {
        return Box::default();
    }
    let mut reasons = std::mem::take(&mut scan.reasons);
    if kind == Kind::Unknown {
        return Box::default();
    }
    if reasons.iter().any(|reason| reason.site == Site::Keyword) {
        let names = clock_names(scan.sql, span.clone());
        reasons.retain(|reason| {
            reason.site != Site::Keyword || names.binary_search(&reason.span.start).is_err()
        });
    }
    reasons.extend(of_clauses);
    if let Some(returning) = scan.returning.filter(|_| kind == Kind::Write) {
        // It is not sent, and its columns take their names from its text.
        reasons.retain(|reason| reason.span.start < returning);
    }
    reasons.sort_by_key(|reason| reason.span.start);
    reasons.into_boxed_slice()
}
