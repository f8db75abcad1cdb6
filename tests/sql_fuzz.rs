//! Whatever the bytes: classifying neither panics nor loops, its offsets are valid, and a
//! statement's verdict does not depend on its neighbours.

#![allow(clippy::panic, reason = "helpers of tests")]

mod sql_support;

use std::time::{Duration, Instant};

use afterquery::sql::{Kind, Statement, classify};
use proptest::prelude::*;
use sql_support::{cases, expected_of};

/// Classifies, and checks everything that holds for any text.
fn checked(sql: &str) -> Vec<Statement<'_>> {
    let statements = classify(sql).statements;
    let mut end = 0;
    for statement in &statements {
        let span = statement.span.clone();
        let text = sql.get(span.clone()).unwrap_or_else(|| panic!("span {span:?} of {sql:?}"));
        assert!(span.start >= end && !text.is_empty(), "span {span:?} of {sql:?}");
        assert!(!text.starts_with([' ', ';']), "{sql:?}");
        end = span.end;
        if let Some(returning) = statement.returning {
            assert_eq!(statement.kind, Kind::Write);
            assert!(span.contains(&returning) && sql.is_char_boundary(returning), "{sql:?}");
        }
        assert!(statement.table.is_none() || statement.kind != Kind::Unknown, "{sql:?}");
        check_placeholders(sql, statement);
    }
    statements
}

fn check_placeholders(sql: &str, statement: &Statement) {
    let mut end = statement.span.start;
    for placeholder in &statement.placeholders {
        let span = placeholder.span.clone();
        assert!(span.start >= end && span.end <= statement.span.end, "{sql:?}");
        let text = &sql[span.clone()];
        assert!(text.starts_with(['?', ':', '@', '$', '#']), "{text:?} in {sql:?}");
        assert_eq!(placeholder.named, !text.starts_with('?'));
        assert!(placeholder.index > 0);
        end = span.end;
    }
}

#[test]
fn every_prefix_of_every_case() {
    for case in cases() {
        for (end, _) in case.sql.char_indices() {
            checked(&case.sql[..end]);
        }
    }
}

/// Every ASCII byte in every place would be 10 million texts: these are the bytes that mean
/// something to the tokenizer.
#[test]
fn every_single_byte_mutation_of_every_case() {
    for case in cases() {
        for at in 0..case.sql.len() {
            if !case.sql.is_char_boundary(at) || !case.sql.is_char_boundary(at + 1) {
                continue;
            }
            for byte in "\0 '\"`[];()-/*?:$#.,x0_eB".chars() {
                let mut text = case.sql.clone();
                text.replace_range(at..=at, byte.encode_utf8(&mut [0; 4]));
                checked(&text);
                text.remove(at);
                checked(&text);
            }
        }
    }
}

#[test]
fn a_statement_between_others_is_what_it_is_alone() {
    for case in cases() {
        let alone = classify(&case.sql).statements;
        // An unterminated text or comment swallows what follows it.
        let ends = classify(&format!("{}\n;SELECT 1", case.sql)).statements.len();
        if ends != alone.len() + 1 {
            continue;
        }
        let text = format!("DELETE FROM a WHERE b = ?7;{}\n; SELECT :a", case.sql);
        let among = checked(&text);
        let verdicts: Vec<_> = among[1..among.len() - 1].iter().map(expected_of).collect();
        assert_eq!(verdicts, alone.iter().map(expected_of).collect::<Vec<_>>(), "{text:?}");
        assert_eq!(among[among.len() - 1].placeholders[0].index, 1, "{text:?}");
    }
}

#[test]
fn nesting_of_any_depth() {
    const DEPTH: usize = 100_000;
    let open = "(".repeat(DEPTH);
    let close = ")".repeat(DEPTH);
    assert_eq!(checked(&format!("SELECT {open}1{close}"))[0].kind, Kind::Read);
    assert_eq!(checked(&format!("SELECT {open}1"))[0].kind, Kind::Unknown);
    let orders = "(SELECT 1 ORDER BY ".repeat(DEPTH);
    assert_eq!(checked(&format!("SELECT {orders}?{close}"))[0].placeholders.len(), 1);
    let with = "WITH a AS (".repeat(DEPTH);
    assert_eq!(checked(&format!("{with}SELECT 1{close} DELETE FROM t"))[0].verb, "DELETE");
    let cases = "CASE ".repeat(DEPTH);
    checked(&format!("CREATE TRIGGER t INSERT ON t BEGIN SELECT {cases}; END; SELECT 1"));
}

/// Linear: ten times the text takes about ten times as long. Measured with a wide margin, as
/// quadratic time would be a hundred times as long.
#[test]
fn time_grows_with_the_text() {
    let texts: [(&str, &str, &str); 9] = [
        ("INSERT INTO t VALUES ", "(?, 'text', 1.5), ", "(1)"),
        ("SELECT ", ":a, ", "1"),
        ("SELECT '", "''", "'"),
        ("SELECT 1 ", "/* * */ ", ""),
        ("SELECT 1 /*", "* ", ""),
        ("", "DELETE FROM t; ", ""),
        ("CREATE TRIGGER t INSERT ON t BEGIN ", "SELECT 1; ", "END"),
        ("SELECT ", "$a(", ""),
        ("WITH ", "a AS (SELECT ? ORDER BY ?), ", "b AS (SELECT 1) SELECT 1"),
    ];
    for (head, body, tail) in texts {
        let time = |bytes: usize| {
            let sql = format!("{head}{}{tail}", body.repeat(bytes / body.len()));
            let start = Instant::now();
            checked(&sql);
            start.elapsed()
        };
        let (small, large) = (time(1_000_000), time(10_000_000));
        let bound = small * 40 + Duration::from_millis(200);
        assert!(large < bound, "{head}{body}…: 1 MB {small:?}, 10 MB {large:?}");
    }
}

#[test]
fn many_names_are_numbered_in_linear_time() {
    let names: Vec<String> = (0..200_000).map(|n| format!(":n{n}")).collect();
    let sql = format!("SELECT {}, {}", names.join(", "), names.join(", "));
    let placeholders = &checked(&sql)[0].placeholders;
    assert_eq!(placeholders.len(), 400_000);
    assert!(placeholders.iter().enumerate().all(|(n, p)| p.index as usize == n % 200_000 + 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(sql in any::<String>()) {
        checked(&sql);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        checked(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_mix_of_tokens(words in prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..40)) {
        checked(&words.join(" "));
        checked(&words.concat());
    }

    #[test]
    fn two_cases_beside_each_other(first in 0_usize..200, second in 0_usize..200) {
        let cases = cases();
        checked(&format!("{};{}", cases[first].sql, cases[second].sql));
    }
}

const TOKENS: [&str; 48] = [
    "SELECT",
    "INSERT",
    "INTO",
    "UPDATE",
    "SET",
    "DELETE",
    "FROM",
    "WITH",
    "AS",
    "CREATE",
    "TRIGGER",
    "ON",
    "BEGIN",
    "END",
    "CASE",
    "RETURNING",
    "ORDER",
    "GROUP",
    "BY",
    "LIMIT",
    "VALUES",
    "EXPLAIN",
    "REPLACE",
    "t",
    "größe",
    "\"q\"",
    "[b]",
    "'s'",
    "(",
    ")",
    ",",
    ";",
    ".",
    "=",
    "?",
    "?3",
    ":a",
    "$a::b(",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "x'",
    "1",
    "0x",
    "\0",
    "\n",
];
