//! The beginning of a statement: what it does and to what, as far as its first tokens tell.
//!
//! Each function follows one rule of SQLite's grammar,
//! <https://sqlite.org/src/file/src/parse.y>. What does not fit marks the scan as malformed.

use super::{
    classification::Kind,
    scan::{Names, Scan},
};
use crate::sql::text::token::TokenKind;

/// What the beginning of a statement tells, besides the names it leaves in the scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub kind: Kind,
    pub verb: &'static str,
    pub temp: bool,
}

impl Head {
    fn new(kind: Kind, verb: &'static str) -> Self {
        Self { kind, verb, temp: false }
    }
}

/// Reads a statement's beginning, and of a trigger everything.
pub(crate) fn head(scan: &mut Scan<'_>) -> Head {
    if !scan.eat("EXPLAIN") {
        return command(scan);
    }
    if scan.eat("QUERY") {
        scan.expect("PLAN");
    }
    command(scan);
    scan.names = Names::default();
    scan.noting_calls = false;
    Head::new(Kind::Read, "EXPLAIN")
}

fn command(scan: &mut Scan<'_>) -> Head {
    if scan.token().kind == TokenKind::Word {
        let first = scan.word().first().map_or(0, u8::to_ascii_uppercase);
        let head = match first {
            b'S' | b'V' => select(scan).or_else(|| savepoint(scan)).or_else(|| other(scan)),
            b'I' | b'U' => write(scan),
            b'D' => write(scan).or_else(|| drop_object(scan)).or_else(|| other(scan)),
            b'W' => with(scan),
            b'C' => create(scan).or_else(|| transaction(scan)),
            b'R' => {
                write(scan).or_else(|| transaction(scan)).or_else(|| release(scan)).or_else(|| other(scan))
            }
            b'A' => alter(scan).or_else(|| other(scan)),
            b'B' | b'E' => transaction(scan),
            _ => other(scan),
        };
        if let Some(head) = head {
            return head;
        }
    }
    scan.malformed = true;
    Head::new(Kind::Unknown, "")
}

fn select(scan: &mut Scan<'_>) -> Option<Head> {
    if !(scan.at("SELECT") || scan.at("VALUES")) {
        return None;
    }
    scan.noting_calls = true;
    scan.advance();
    Some(Head::new(Kind::Read, "SELECT"))
}

fn write(scan: &mut Scan<'_>) -> Option<Head> {
    let verb = if scan.eat("INSERT") {
        or_conflict(scan);
        scan.expect("INTO");
        "INSERT"
    } else if scan.eat("UPDATE") {
        or_conflict(scan);
        "UPDATE"
    } else if scan.eat("DELETE") {
        scan.expect("FROM");
        "DELETE"
    } else if scan.eat("REPLACE") {
        scan.expect("INTO");
        "INSERT"
    } else {
        return None;
    };
    qualified(scan);
    if verb == "INSERT" && scan.eat("AS") {
        scan.name();
    }
    scan.noting_calls = true;
    Some(Head::new(Kind::Write, verb))
}

fn or_conflict(scan: &mut Scan<'_>) {
    if scan.eat("OR") && !scan.eat_any(&["REPLACE", "IGNORE", "ROLLBACK", "ABORT", "FAIL"]) {
        scan.malformed = true;
    }
}

fn with(scan: &mut Scan<'_>) -> Option<Head> {
    if !scan.eat("WITH") {
        return None;
    }
    scan.eat("RECURSIVE");
    while !scan.malformed {
        common_table(scan);
        if scan.token().kind != TokenKind::Comma {
            break;
        }
        scan.advance();
    }
    let body = if scan.malformed { None } else { select(scan).or_else(|| write(scan)) };
    Some(body.unwrap_or_else(|| {
        scan.malformed = true;
        Head::new(Kind::Unknown, "WITH")
    }))
}

/// `name (columns) AS [[NOT] MATERIALIZED] (select)`
fn common_table(scan: &mut Scan<'_>) {
    scan.name();
    if scan.token().kind == TokenKind::Open {
        scan.parentheses();
    }
    scan.expect("AS");
    if scan.eat("NOT") {
        scan.expect("MATERIALIZED");
    } else {
        scan.eat("MATERIALIZED");
    }
    scan.noting_calls = true;
    scan.parentheses();
    scan.noting_calls = false;
}

fn create(scan: &mut Scan<'_>) -> Option<Head> {
    if !scan.eat("CREATE") {
        return None;
    }
    let mut head = Head::new(Kind::Ddl, "CREATE");
    head.temp = scan.eat_any(&["TEMP", "TEMPORARY"]);
    if scan.eat("TABLE") {
        if_exists(scan);
        qualified(scan);
        scan.noting_calls = scan.eat("AS");
        return Some(head);
    }
    if scan.eat("VIEW") || (scan.eat("VIRTUAL") && scan.eat("TABLE")) {
        if_exists(scan);
        qualified(scan);
        return Some(head);
    }
    let unique = scan.eat("UNIQUE");
    if scan.eat("INDEX") {
        if_exists(scan);
        qualified(scan);
        scan.expect("ON");
        scan.names.table = scan.name();
        return Some(head);
    }
    if !unique && scan.eat("TRIGGER") {
        trigger(scan);
        return Some(head);
    }
    scan.malformed = true;
    Some(head)
}

/// A trigger is one statement up to the END that follows a `;`: the rule of `sqlite3_complete()`,
/// <https://sqlite.org/src/file/src/complete.c>. A CASE's END follows no `;`.
fn trigger(scan: &mut Scan<'_>) {
    if_exists(scan);
    qualified(scan);
    let schema = scan.names.schema;
    while !scan.token().is_stop() && !scan.at("ON") {
        scan.step();
    }
    scan.expect("ON");
    qualified(scan);
    scan.names.schema = schema.or(scan.names.schema);
    while !scan.token().is_stop() && !scan.at("BEGIN") {
        scan.step();
    }
    scan.expect("BEGIN");
    if !scan.malformed {
        trigger_body(scan);
    }
}

fn trigger_body(scan: &mut Scan<'_>) {
    loop {
        while !scan.token().is_stop() {
            scan.step();
        }
        if scan.token().kind == TokenKind::End {
            scan.malformed = true;
            return;
        }
        scan.step();
        if scan.eat("END") && scan.token().is_stop() {
            return;
        }
    }
}

fn alter(scan: &mut Scan<'_>) -> Option<Head> {
    if !scan.eat("ALTER") {
        return None;
    }
    scan.expect("TABLE");
    qualified(scan);
    Some(Head::new(Kind::Ddl, "ALTER"))
}

fn drop_object(scan: &mut Scan<'_>) -> Option<Head> {
    if !scan.eat("DROP") {
        return None;
    }
    let is_table = scan.eat_any(&["TABLE", "VIEW"]);
    scan.malformed |= !is_table && !scan.eat_any(&["INDEX", "TRIGGER"]);
    if_exists(scan);
    qualified(scan);
    scan.names.table = scan.names.table.filter(|_| is_table);
    Some(Head::new(Kind::Ddl, "DROP"))
}

fn transaction(scan: &mut Scan<'_>) -> Option<Head> {
    let verb = if scan.eat("BEGIN") {
        // CONCURRENT is of SQLite's begin-concurrent branch.
        scan.eat_any(&["DEFERRED", "IMMEDIATE", "EXCLUSIVE", "CONCURRENT"]);
        "BEGIN"
    } else if scan.eat("COMMIT") {
        "COMMIT"
    } else if scan.eat("END") {
        "END"
    } else if scan.eat("ROLLBACK") {
        "ROLLBACK"
    } else {
        return None;
    };
    if scan.eat("TRANSACTION") && !scan.token().is_stop() && !scan.at("TO") {
        scan.name();
    }
    if verb == "ROLLBACK" && scan.eat("TO") {
        scan.eat("SAVEPOINT");
        scan.names.savepoint = scan.name();
    }
    scan.malformed |= !scan.token().is_stop();
    Some(Head::new(Kind::Txn, verb))
}

fn savepoint(scan: &mut Scan<'_>) -> Option<Head> {
    scan.eat("SAVEPOINT").then(|| at_savepoint(scan, "SAVEPOINT"))
}

fn release(scan: &mut Scan<'_>) -> Option<Head> {
    if !scan.eat("RELEASE") {
        return None;
    }
    scan.eat("SAVEPOINT");
    Some(at_savepoint(scan, "RELEASE"))
}

fn at_savepoint(scan: &mut Scan<'_>, verb: &'static str) -> Head {
    scan.names.savepoint = scan.name();
    scan.malformed |= !scan.token().is_stop();
    Head::new(Kind::Txn, verb)
}

fn other(scan: &mut Scan<'_>) -> Option<Head> {
    const VERBS: [&str; 6] = ["PRAGMA", "ATTACH", "DETACH", "VACUUM", "ANALYZE", "REINDEX"];
    let verb = VERBS.into_iter().find(|verb| scan.eat(verb))?;
    Some(Head::new(Kind::Other, verb))
}

/// `IF [NOT] EXISTS`, which need not be there.
fn if_exists(scan: &mut Scan<'_>) {
    if scan.eat("IF") {
        scan.eat("NOT");
        scan.expect("EXISTS");
    }
}

/// `name` or `schema.name`
fn qualified(scan: &mut Scan<'_>) {
    scan.names.schema = None;
    scan.names.table = scan.name();
    if scan.token().kind == TokenKind::Dot {
        scan.names.schema = scan.names.table;
        scan.advance();
        scan.names.table = scan.name();
    }
}
