//! Our verdicts against SQLite's own, on a corpus that SQLite labelled. The corpus is not part of
//! the project; where it is absent this test says so and checks nothing.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod sql_support;

use std::io::Read;
use std::path::PathBuf;

use afterquery::sql::{Statement, classify};
use flate2::read::GzDecoder;
use serde_json::Value;
use sql_support::kind_name;

/// Beside the project's folder.
const CORPUS: &str = "../shared/sql/labelled.jsonl.gz";

fn corpus() -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(CORPUS);
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("\n*** SKIPPED: no labelled corpus at {CORPUS}; nothing was checked ***\n");
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("the corpus is gzipped UTF-8");
    Some(text)
}

/// SQLite reports the schema table under its old name.
fn same_table(statement: &Statement, label: &Value) -> bool {
    let ours = statement.table.as_deref().unwrap_or_default();
    let ours = match ours.to_ascii_lowercase().as_str() {
        "sqlite_schema" => "sqlite_master".to_owned(),
        "sqlite_temp_schema" => "sqlite_temp_master".to_owned(),
        other => other.to_owned(),
    };
    let tables = label["tables"].as_array().expect("tables is a list");
    tables.iter().any(|t| t.as_str().is_some_and(|t| t.eq_ignore_ascii_case(&ours)))
}

#[test]
fn verdicts_equal_those_of_sqlite() {
    let Some(corpus) = corpus() else { return };
    let (mut all, mut writes, mut wrong_tables, mut wrong) = (0, 0, 0, Vec::new());
    for line in corpus.lines() {
        let label: Value = serde_json::from_str(line).expect("a line is one JSON object");
        let sql = label["sql"].as_str().expect("sql is a text");
        let found = classify(sql).statements;
        all += 1;
        let verdict = match found.as_slice() {
            [one] => (kind_name(one.kind), one.verb),
            _ => ("not one statement", ""),
        };
        if verdict != (label["kind"].as_str().unwrap_or(""), label["verb"].as_str().unwrap_or("")) {
            wrong.push(format!("{verdict:?} for {label}"));
        } else if verdict.0 == "write" {
            writes += 1;
            if !same_table(&found[0], &label) {
                wrong_tables += 1;
                eprintln!("table {:?} for {label}", found[0].table);
            }
        }
    }
    eprintln!("{all} statements, {} wrong; {writes} writes, {wrong_tables} tables differ", wrong.len());
    assert!(all > 0, "the corpus is empty");
    assert!(wrong.is_empty(), "{} of {all}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(wrong_tables * 1000 <= writes, "{wrong_tables} of {writes} tables differ");
}

/// Functions whose every call differs; SQLite's label also has those of triggers and views, which no
/// text shows.
const DIFFERING: [&str; 8] = [
    "random",
    "randomblob",
    "changes",
    "total_changes",
    "last_insert_rowid",
    "current_date",
    "current_time",
    "current_timestamp",
];

#[test]
fn calls_that_differ_are_those_sqlite_saw() {
    let Some(corpus) = corpus() else { return };
    let (mut calls, mut unseen) = (0, Vec::new());
    for line in corpus.lines() {
        let label: Value = serde_json::from_str(line).expect("a line is one JSON object");
        let sql = label["sql"].as_str().expect("sql is a text");
        let labelled = label["functions"].as_array().expect("functions is a list");
        let found: Vec<String> = classify(sql).statements.iter().flat_map(|s| names(sql, s)).collect();
        for name in DIFFERING {
            let seen_by_sqlite = labelled.iter().any(|function| function == name);
            calls += usize::from(seen_by_sqlite);
            match (seen_by_sqlite, found.iter().any(|function| function == name)) {
                (true, false) => unseen.push(format!("{name} in {sql}")),
                (false, true) => panic!("{name} is not called in {sql}"),
                _ => {}
            }
        }
    }
    eprintln!("{calls} statements call a function that differs; not seen in:\n{}", unseen.join("\n"));
    assert!(unseen.len() * 100 <= calls, "{} of {calls} not seen", unseen.len());
}

fn names(sql: &str, statement: &Statement) -> Vec<String> {
    let name = |span: &std::ops::Range<usize>| sql[span.clone()].trim_matches('"').to_ascii_lowercase();
    statement.reasons.iter().map(|reason| name(&reason.span)).collect()
}
