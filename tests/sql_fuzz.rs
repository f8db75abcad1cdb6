//! Whatever the bytes: classifying neither panics nor loops, its offsets are valid, and a
//! statement's verdict does not depend on its neighbours.

#![allow(clippy::panic, reason = "helpers of tests")]

mod sql_support;

use std::time::{Duration, Instant};

use afterquery::sql::{FreezeContext, Hole, Kind, Parameters, Statement, Template, Value, classify, freeze};
use proptest::prelude::*;
use rusqlite::{Connection, fallible_iterator::FallibleIterator};
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
            for byte in "\0\x0b '\"`[];()-/*?:$#.,x0_eB".chars() {
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

/// Tables whose names end in what other languages call white space, and columns named as the clock is.
const SCHEMA: &str = "
CREATE TABLE t (a, b, current_date, current_time);
CREATE TABLE t\u{a0} (a, b, current_date, current_time);
CREATE TABLE \u{2028} (a, b, current_date, current_time);
CREATE TABLE t\u{3000} (a, b, current_date, current_time);
CREATE TABLE t\u{85} (a, b, current_date, current_time);
CREATE TABLE t\u{feff} (a, b, current_date, current_time);
CREATE TABLE ☃ (a, b, current_date, current_time);
";

/// Words of statements. What stands for a table is replaced by the name of one.
const SHAPES: [&str; 13] = [
    "INSERT INTO TABLE VALUES ( 1 , :n\u{a0} , 0x1F , CURRENT_DATE )",
    "INSERT INTO TABLE ( a , current_date ) VALUES ( 'x' , 1.5e3 ) RETURNING a",
    "INSERT INTO TABLE ( current_time ) SELECT current_time FROM TABLE RETURNING *",
    "REPLACE INTO TABLE ( b ) VALUES ( ? ) , ( x'00' )",
    "UPDATE TABLE SET a = 0x20 WHERE b = :p\u{3000}",
    "UPDATE TABLE SET a = 1 , current_date = CURRENT_DATE , ( current_time , b ) = ( 1 , current_time )",
    "UPDATE TABLE SET a = - 1 WHERE b = $v::w(x) RETURNING a",
    "DELETE FROM TABLE",
    "DELETE FROM TABLE WHERE a = \"b\" OR b = [a] OR a = 'it''s'",
    "DELETE FROM TABLE RETURNING current_date",
    "WITH c AS ( SELECT 1 ) DELETE FROM TABLE WHERE a IN c RETURNING b",
    "SELECT a , b FROM TABLE WHERE a <> 1 || 'x' -> '$'",
    "BEGIN",
];
const TABLES: [&str; 8] =
    ["t", "t\u{a0}", "\u{2028}", "t\u{3000}", "t\u{85}", "t\u{feff}", "☃", "\"t\u{a0}\""];
const BETWEEN: [&str; 20] = [
    "",
    "",
    "",
    "",
    " ",
    " ",
    " ",
    "\n",
    "\t",
    "\x0c",
    "\r",
    " \x0b",
    "\t\x0b\x0b",
    " \u{feff}",
    "/**/",
    "--'\n",
    "/* ; ' */",
    "\u{feff}",
    "\x0b",
    "\u{a0}",
];
/// The last so many of these mostly make a text that SQLite refuses.
const WRONG: usize = 3;

/// A text of one or two statements with anything between their words, from a seed.
fn hostile(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sql = String::new();
    for _ in 0..random.usize(1..3) {
        for word in SHAPES[random.usize(..SHAPES.len())].split(' ') {
            // Two words that would be one are parted nearly always.
            let wrong = random.u8(..40) == 0;
            let mut between = BETWEEN[random.usize(..BETWEEN.len() - if wrong { 0 } else { WRONG })];
            let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || !c.is_ascii());
            if between.is_empty()
                && joins(sql.chars().next_back())
                && joins(word.chars().next())
                && random.u8(..100) > 0
            {
                between = " ";
            }
            sql.push_str(between);
            let word = if word == "TABLE" { TABLES[random.usize(..TABLES.len())] } else { word };
            sql.push_str(word);
        }
        sql.push_str(BETWEEN[random.usize(..BETWEEN.len() - WRONG)]);
        sql.push(';');
    }
    sql
}

/// What SQLite says of each statement of a text: whether it only reads, and how many parameters and columns it has; None
/// where it refuses one.
fn said_by_sqlite(db: &Connection, sql: &str) -> Option<Vec<(bool, usize, usize)>> {
    let mut batch = rusqlite::Batch::new(db, sql);
    let mut said = Vec::new();
    while let Some(statement) = batch.next().ok()? {
        let reads = statement.readonly() && !sql.contains("BEGIN");
        said.push((reads, statement.parameter_count(), statement.column_count()));
    }
    Some(said)
}

#[test]
fn what_sqlite_takes_is_read_as_it_reads_it() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(SCHEMA).unwrap();
    let (mut taken, mut with_returning) = (0, 0);
    for seed in 0..20_000 {
        let sql = hostile(seed);
        let ours = checked(&sql);
        let Some(said) = said_by_sqlite(&db, &sql) else { continue };
        taken += 1;
        assert_eq!(ours.len(), said.len(), "{sql:?}");
        let frozen = freeze(&sql, &classify(&sql), |_, _| None, &mut Noon).sql;
        assert!(frozen.is_none_or(|frozen| said_by_sqlite(&db, &frozen).is_some()), "{sql:?}");
        for (statement, &(reads, parameters, columns)) in ours.iter().zip(&said) {
            assert_ne!(statement.kind, Kind::Unknown, "{sql:?}");
            assert!(!reads || statement.kind == Kind::Read, "{sql:?}");
            let largest = statement.placeholders.iter().map(|p| p.index as usize).max().unwrap_or(0);
            assert_eq!(largest, parameters, "{sql:?}");
            if statement.kind == Kind::Write {
                assert_eq!(statement.returning.is_some(), columns > 0, "{sql:?}");
                let table = statement.table.as_deref().unwrap_or_default();
                assert!(TABLES.contains(&table) || table == "t\u{a0}", "{table:?} in {sql:?}");
                let sent = Template::new(&sql, statement);
                let prepared = db.prepare(sent.text());
                let prepared =
                    prepared.unwrap_or_else(|error| panic!("{error}: {:?} of {sql:?}", sent.text()));
                assert_eq!((prepared.parameter_count(), prepared.column_count()), (parameters, 0), "{sql:?}");
                with_returning += u32::from(columns > 0);
            }
        }
    }
    assert!(taken > 5_000 && with_returning > 1_000, "{taken}, {with_returning}");
}

struct Noon;

impl FreezeContext for Noon {
    fn unix_milliseconds(&self) -> i64 {
        43_200_000
    }

    fn utc_offset_seconds(&self, _: i64) -> Option<i32> {
        Some(0)
    }

    fn random(&mut self) -> u64 {
        4
    }
}

struct Sevens;

impl Parameters for Sevens {
    fn bind(&self, _: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
        take(Value::Integer(7));
        Ok(())
    }
}

/// SQLite up to 3.45 ends a hexadecimal number at the first byte that is no digit; what is sent is read alike by all.
#[test]
fn a_hexadecimal_number_is_parted_from_what_follows() {
    for (sql, sent) in [
        ("UPDATE t SET a=0x20WHERE b=?", "UPDATE t SET a=0x20 WHERE b=?"),
        ("INSERT INTO t VALUES(0X1F\u{feff},:a)", "INSERT INTO t VALUES(0X1F \u{feff},:a)"),
        (
            "DELETE FROM t WHERE a=0xFOR b=0x1AND c='0x1z' RETURNING a",
            "DELETE FROM t WHERE a=0xF OR b=0x1A ND c='0x1z'",
        ),
        ("UPDATE t SET a='0x20WHERE'", "UPDATE t SET a='0x20WHERE'"),
    ] {
        let found = classify(sql).statements;
        let template = Template::new(sql, &found[0]);
        assert_eq!((found[0].kind, template.text()), (Kind::Write, sent));
        let rendered = template.render(&Sevens, 100).unwrap().sql;
        assert_eq!(rendered, sent.replace('?', "7").replace(":a", "7"));
    }
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
