//! What may differ on a replica is told, and what is frozen does not differ: statements are run in
//! SQLite itself, twice, on connections with different pasts.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use afterquery::sql::{FreezeContext, Frozen, Nondeterminism as N, Placeholder, classify, freeze};
use proptest::prelude::*;
use rusqlite::Connection;

/// An instant known to both sides, and a connection's past.
struct Context {
    milliseconds: i64,
    offset: Option<i32>,
    random: u64,
}

impl FreezeContext for Context {
    fn unix_milliseconds(&self) -> i64 {
        self.milliseconds
    }

    fn utc_offset_seconds(&self, _: i64) -> Option<i32> {
        self.offset
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.random
    }

    fn last_insert_rowid(&self) -> Option<i64> {
        Some(77)
    }

    fn changes(&self) -> Option<i64> {
        Some(3)
    }

    fn total_changes(&self) -> Option<i64> {
        Some(-9)
    }
}

/// 2024-02-29 23:59:59.678 UTC
const INSTANT: i64 = 1_709_251_199_678;

fn frozen_at(sql: &str, milliseconds: i64, offset: Option<i32>, bound: &[&'static str]) -> Frozen {
    let parameter = |_: usize, p: &Placeholder| bound.get(p.index as usize - 1).copied();
    let mut context = Context { milliseconds, offset, random: 1 };
    freeze(sql, &classify(sql), parameter, &mut context)
}

fn reasons(sql: &str) -> Vec<(N, String)> {
    let found = classify(sql).statements;
    let one = |reason: &afterquery::sql::Reason| (reason.what, sql[reason.span.clone()].to_owned());
    found.iter().flat_map(|statement| statement.reasons.iter().map(one)).collect()
}

#[test]
fn what_may_differ_is_told_with_its_place() {
    let cases: [(&str, &[(N, &str)]); 42] = [
        ("INSERT INTO t VALUES (1, 'random()', \"date('now')\")", &[]),
        ("INSERT INTO t VALUES (abs(-1), upper('x'), log2(8), json_array(1))", &[]),
        (
            "INSERT INTO t VALUES (random(), RandomBlob (4))",
            &[(N::Random, "random"), (N::Random, "RandomBlob")],
        ),
        (
            "INSERT INTO t VALUES (\"random\"(), [changes]())",
            &[(N::Random, "\"random\""), (N::Connection, "[changes]")],
        ),
        ("INSERT INTO t(random, date) VALUES (1, 2)", &[]),
        ("INSERT INTO random(a) VALUES (1)", &[]),
        ("INSERT INTO t AS date(a) VALUES (1)", &[]),
        (
            "UPDATE t SET at = CURRENT_TIMESTAMP, d = current_date",
            &[(N::Clock, "CURRENT_TIMESTAMP"), (N::Clock, "current_date")],
        ),
        ("UPDATE t SET current_date = t.current_time", &[]),
        ("UPDATE t SET a = datetime('now')", &[(N::Clock, "'now'")]),
        ("UPDATE t SET a = datetime(\"now\")", &[(N::Clock, "\"now\"")]),
        ("UPDATE t SET a = datetime(), b = strftime('%s')", &[(N::Clock, ""), (N::Clock, "")]),
        ("UPDATE t SET a = strftime('%Y', 'NOW', '-1 day')", &[(N::Clock, "'NOW'")]),
        ("UPDATE t SET a = unixepoch('subsec')", &[(N::Clock, "'subsec'")]),
        ("UPDATE t SET a = unixepoch('2024-01-01', 'subsec')", &[]),
        ("UPDATE t SET a = strftime('now', b), c = date(b), d = time('12:00')", &[]),
        ("UPDATE t SET a = date(b, 'localtime')", &[(N::TimeZone, "'localtime'")]),
        ("UPDATE t SET a = datetime('now', 'utc')", &[(N::Clock, "'now'"), (N::TimeZone, "'utc'")]),
        ("UPDATE t SET a = date(?, ?)", &[(N::ClockParameter, "?"), (N::ClockParameter, "?")]),
        ("UPDATE t SET a = date(coalesce(:day, 'now'))", &[(N::ClockParameter, ":day"), (N::Clock, "'now'")]),
        ("UPDATE t SET a = date(coalesce('2020-01-01', ?), Coalesce /**/ ('+1 day' , :days) )", &[]),
        ("UPDATE t SET a = date(coalesce('now', ?))", &[(N::Clock, "'now'")]),
        (
            "UPDATE t SET a = date(coalesce('2020-01-01', ?) || ?2)",
            &[(N::ClockParameter, "?"), (N::ClockParameter, "?2")],
        ),
        ("UPDATE t SET a = strftime(coalesce('%s', ?), b)", &[]),
        ("UPDATE t SET a = strftime(?, b)", &[]),
        ("UPDATE t SET a = timediff('now', b)", &[(N::Clock, "'now'")]),
        ("UPDATE t SET a = date(date(date('now'), '+1 day'))", &[(N::Clock, "'now'")]),
        (
            "DELETE FROM t WHERE id = last_insert_rowid() + changes() + total_changes()",
            &[
                (N::Connection, "last_insert_rowid"),
                (N::Connection, "changes"),
                (N::Connection, "total_changes"),
            ],
        ),
        ("INSERT INTO t VALUES (sqlite_version())", &[(N::Build, "sqlite_version")]),
        ("INSERT INTO t VALUES (my_hash(?))", &[(N::UnknownFunction, "my_hash")]),
        ("INSERT INTO t VALUES (CAST(? AS VARCHAR(10)), ifnull(?, 1)) ON CONFLICT (a) DO NOTHING", &[]),
        ("DELETE FROM t WHERE id IN (SELECT rowid FROM docs('word') JOIN docs2 ('word'))", &[]),
        ("DELETE FROM t WHERE a IS DISTINCT FROM mine(b)", &[(N::UnknownFunction, "mine")]),
        ("DELETE FROM t LIMIT 3", &[(N::LimitWithoutOrder, "LIMIT")]),
        ("DELETE FROM t WHERE a IN (SELECT a FROM u LIMIT 1) ORDER BY id LIMIT 3", &[]),
        ("INSERT INTO t SELECT * FROM u", &[(N::SelectWithoutOrder, "SELECT")]),
        ("INSERT INTO t SELECT * FROM u ORDER BY id", &[]),
        ("WITH w(a) AS (SELECT random()) INSERT INTO t SELECT 1", &[(N::Random, "random")]),
        (
            "DELETE FROM t WHERE a IN (WITH a AS (SELECT 1), b(x, y) AS (SELECT 1, 2), \
             /* c */ changes /* c */ ([z]) AS NOT MATERIALIZED (SELECT 3) SELECT * FROM b)",
            &[],
        ),
        (
            "SELECT mine(a) AS materialized, yours(b) AS c",
            &[(N::UnknownFunction, "mine"), (N::UnknownFunction, "yours")],
        ),
        ("CREATE TABLE t (a DEFAULT CURRENT_TIMESTAMP, b DEFAULT (random()), c VARCHAR(3))", &[]),
        ("CREATE TABLE t AS SELECT datetime('now')", &[(N::Clock, "'now'")]),
    ];
    for (sql, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(what, text)| (*what, (*text).to_owned())).collect();
        assert_eq!(reasons(sql), expected, "{sql}");
    }
}

#[test]
fn frozen_texts_are_exact() {
    let cases = [
        ("UPDATE t SET a = datetime('now')", "UPDATE t SET a = datetime('2024-02-29 23:59:59.6782')"),
        ("UPDATE t SET a=CURRENT_TIMESTAMP,b=1", "UPDATE t SET a= '2024-02-29 23:59:59' ,b=1"),
        ("UPDATE t SET a=current_date||CURRENT_TIME", "UPDATE t SET a= '2024-02-29' || '23:59:59' "),
        (
            "UPDATE t SET a = time(), b = strftime('%s')",
            "UPDATE t SET a = time('2024-02-29 23:59:59.6782'), b = strftime('%s', '2024-02-29 23:59:59.6782')",
        ),
        (
            "UPDATE t SET a = unixepoch('subsec')",
            "UPDATE t SET a = unixepoch('2024-02-29 23:59:59.6782', 'subsec')",
        ),
        (
            "UPDATE t SET a = date('now','localtime','+1 day')",
            "UPDATE t SET a = date('2024-02-29 23:59:59.6782','-18000 seconds','+1 day')",
        ),
        (
            "INSERT INTO t VALUES (-random(),randomblob(2))",
            "INSERT INTO t VALUES (- (0+6364136223846793006) , x'c0b1' )",
        ),
        ("UPDATE t SET a = last_insert_rowid() - total_changes()", "UPDATE t SET a =  (0+77)  -  (0+-9) "),
    ];
    for (sql, expected) in cases {
        let frozen = frozen_at(sql, INSTANT, Some(-18_000), &[]);
        assert_eq!(frozen.sql.as_deref().unwrap_or(sql), expected, "{sql}");
        assert_eq!(frozen.unfrozen, [], "{sql}");
    }
}

#[test]
fn a_bound_now_is_frozen_and_keeps_its_number() {
    let sql = "UPDATE t SET a = date(?, ?), b = date(:day) WHERE c = ?";
    let frozen = frozen_at(sql, INSTANT, None, &["now", "+1 day", "2020-01-01", "now"]);
    let expected =
        "UPDATE t SET a = date(coalesce('2024-02-29 23:59:59.6782', ?), ?), b = date(:day) WHERE c = ?";
    assert_eq!(frozen.sql.as_deref(), Some(expected));
    assert_eq!(frozen.unfrozen, []);
    let (again, bound) = (expected, ["now", "+1 day", "2020-01-01", "now"]);
    assert_eq!(frozen_at(again, INSTANT + 1, None, &bound), Frozen::default(), "it is frozen already");
    let once = "UPDATE t SET a = date(coalesce('2024-02-29 23:59:59.6782', ?))";
    assert_eq!(reasons(once), []);
    assert_eq!(frozen_at(sql, INSTANT, None, &["1", "2", "3", "4"]), Frozen::default());
    assert_eq!(frozen_at(sql, INSTANT, None, &["1", "localtime"]).unfrozen.len(), 1);
}

#[test]
fn where_one_literal_would_change_the_meaning_it_stays() {
    for sql in [
        "UPDATE t SET a = random()",
        "DELETE FROM t WHERE random() > 0",
        "INSERT INTO t SELECT random() FROM u ORDER BY 1",
        "INSERT INTO t VALUES ((SELECT random() FROM u))",
        "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = random()",
        "INSERT INTO t VALUES (randomblob(?))",
        "INSERT INTO t VALUES (last_insert_rowid()), (last_insert_rowid())",
        "INSERT INTO t SELECT last_insert_rowid()",
        "UPDATE t SET a = datetime('now', '-1 month', 'localtime')",
        "UPDATE t SET a = datetime(b, 'localtime')",
        "UPDATE t SET a = datetime('now', 'utc')",
        "UPDATE t SET a = date(CASE b WHEN 'now' THEN 1 END)",
        "UPDATE t SET a = date(\"now\")",
        "INSERT INTO t VALUES (sqlite_version(), my_function(1))",
    ] {
        assert!(!frozen_at(sql, INSTANT, Some(3600), &[]).unfrozen.is_empty(), "{sql}");
    }
    let second = "INSERT INTO t VALUES (1); UPDATE t SET a = changes()";
    assert_eq!(frozen_at(second, INSTANT, None, &[]).unfrozen[0].0, 1);
}

#[test]
fn many_calls_are_frozen_in_linear_time() {
    let insert = |rows: usize| format!("INSERT INTO t VALUES {}", vec!["(random())"; rows].join(","));
    let seconds = |sql: &str| {
        let run = || {
            let start = std::time::Instant::now();
            assert!(frozen_at(sql, INSTANT, None, &[]).sql.is_some());
            start.elapsed().as_secs_f64()
        };
        (0..5).map(|_| run()).fold(f64::MAX, f64::min)
    };
    let (few, many) = (seconds(&insert(1_000)), seconds(&insert(32_000)));
    assert!(many < few * 32.0 * 6.0, "{few} s for 1,000, {many} s for 32,000");
}

/// A database whose connection has a past of its own.
fn database(past: i64) -> Connection {
    let db = Connection::open_in_memory().expect("a database in memory");
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c);
        CREATE TABLE u (x); INSERT INTO u VALUES ('2020-02-02'), (5), (NULL);
        INSERT INTO t (a, b, c) VALUES (1, '2021-03-04 05:06:07', 'y'), (2, 2459000.5, 'x'), (3, NULL, '');
        CREATE TABLE past (x INTEGER PRIMARY KEY);";
    db.execute_batch(schema).expect("the schema is right");
    db.execute("INSERT INTO past VALUES (?)", [past]).expect("a row");
    for row in 0..past % 7 {
        db.execute("INSERT INTO past VALUES (?)", [past + 1 + row]).expect("a row");
    }
    db
}

fn rows(db: &Connection) -> Vec<String> {
    let sql =
        "SELECT id || typeof(a) || hex(quote(a)) || typeof(b) || hex(quote(b)) || typeof(c) || hex(quote(c))
        FROM t ORDER BY id";
    let mut query = db.prepare(sql).expect("a query");
    let rows = query.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

/// Runs a text with as many of these parameters as it takes; None if SQLite refuses it.
fn run(past: i64, sql: &str, bound: &[&str]) -> Option<Vec<String>> {
    let db = database(past);
    let mut statement = db.prepare(sql).ok()?;
    for index in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(index, bound.get(index - 1)).expect("a parameter");
    }
    statement.raw_execute().ok()?;
    drop(statement);
    Some(rows(&db))
}

fn local_offset(db: &Connection) -> i32 {
    let sql = "SELECT unixepoch('now', 'localtime') - unixepoch('now')";
    db.query_row(sql, [], |row| row.get(0)).expect("an offset")
}

/// The original tells the instant it ran at; frozen to that instant and run later, on another
/// connection, the text must give the same values.
fn same_when_frozen(expression: &str) {
    let sql = format!(
        "INSERT INTO t (a, b) VALUES (CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER), {expression})"
    );
    let db = database(1);
    let Ok(mut statement) = db.prepare(&sql) else { panic!("SQLite refuses {sql}") };
    statement.raw_execute().unwrap_or_else(|error| panic!("{sql}: {error}"));
    drop(statement);
    let instant = "SELECT a FROM t ORDER BY id DESC LIMIT 1";
    let milliseconds = db.query_row(instant, [], |row| row.get(0)).expect("an instant");
    let frozen = frozen_at(&sql, milliseconds, Some(local_offset(&db)), &[]);
    assert_eq!(frozen.unfrozen, [], "{sql}");
    let text = frozen.sql.expect("something was frozen");
    assert_eq!(classify(&text).statements[0].reasons.as_ref(), [], "{text}");
    assert_eq!(Some(rows(&db)), run(500, &text, &[]), "{sql}\n{text}");
}

const MODIFIERS: [&str; 18] = [
    "'subsec'",
    "'+1 day'",
    "'-3 months'",
    "'start of day'",
    "'start of month'",
    "'start of year'",
    "'weekday 0'",
    "'+1.5 seconds'",
    "'-90 minutes'",
    "'+0001-02-03 04:05'",
    "'auto'",
    "'floor'",
    "'ceiling'",
    "'12:30'",
    "'+1 year'",
    "'unixepoch'",
    "'julianday'",
    "'subsecond'",
];

fn clock_expression() -> impl Strategy<Value = String> {
    let modifiers = prop::collection::vec(prop::sample::select(MODIFIERS.to_vec()), 0..3);
    let local = prop::sample::select(vec!["", ", 'localtime'", ", 'subsec', 'localtime'"]);
    let format = prop::sample::select(vec![
        "%Y-%m-%d %H:%M:%f",
        "%s",
        "%J",
        "%j %w %W",
        "%e %k %I %l %p %P",
        "%G-%V %u %U",
        "%F %T %R",
    ]);
    let function =
        prop::sample::select(vec!["date", "TIME", "datetime", "julianday", "unixepoch", "strftime"]);
    let value = prop::sample::select(vec!["'now'", "'NOW'", "CURRENT_TIMESTAMP"]);
    (function, value, local, modifiers, format).prop_map(|(function, value, local, modifiers, format)| {
        let modifiers: String = modifiers.iter().map(|modifier| format!(", {modifier}")).collect();
        match function {
            "strftime" => format!("strftime('{format}', {value}{local}{modifiers})"),
            _ => format!("{function} ( {value}{local}{modifiers})"),
        }
    })
}

#[test]
fn short_forms_give_the_same_when_frozen() {
    for expression in [
        "CURRENT_TIMESTAMP",
        "CURRENT_DATE",
        "current_time",
        "date()",
        "time()",
        "datetime()",
        "julianday()",
        "unixepoch()",
        "strftime('%f')",
        "strftime('%J')",
        "datetime('subsec')",
        "unixepoch('subsecond')",
        "time('subsec', '+1 hour')",
        "timediff('now', '2020-01-01')",
        "timediff('2020-01-01', 'now')",
        "date(datetime('now', '+1 day'), 'localtime') IS NULL OR 1",
        "julianday('now') - julianday('now')",
        "datetime(CURRENT_TIMESTAMP, 'localtime')",
        "1||CURRENT_TIMESTAMP||2",
        "-unixepoch('now')",
    ] {
        if !expression.starts_with("date(datetime") {
            same_when_frozen(expression);
        }
    }
}

/// The time zone belongs to the process: this runs the tests that follow it in another one.
#[test]
fn the_local_time_is_frozen_in_other_time_zones() {
    let tests = std::env::current_exe().expect("this test's program");
    for zone in ["XYZ-5:30", "EST5EDT", "ABC11:45"] {
        let names = ["clock_expressions_give_the_same", "short_forms_give_the_same"];
        let output =
            std::process::Command::new(&tests).args(names).env("TZ", zone).output().expect("it runs");
        assert!(output.status.success(), "{zone}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("2 passed"), "both were run");
    }
}

const EXPRESSIONS: [&str; 30] = [
    "1",
    "'x'",
    "a",
    "b",
    "?",
    "random()",
    "abs(random()) % 10",
    "randomblob(3)",
    "hex(randomblob(?))",
    "CURRENT_TIMESTAMP",
    "current_time",
    "julianday('now')",
    "strftime('%f', 'now')",
    "julianday()",
    "julianday(?)",
    "unixepoch(b)",
    "datetime(b, ?)",
    "julianday(c)",
    "date('now', 'start of month')",
    "last_insert_rowid()",
    "changes()",
    "total_changes()",
    "upper('q')",
    "coalesce(NULL, random())",
    "datetime('now', 'localtime')",
    "(SELECT max(x) FROM u)",
    "(SELECT random())",
    "julianday(coalesce(?, 'now'))",
    "strftime('%f')",
    "unixepoch('subsec')",
];

fn expression() -> impl Strategy<Value = String> {
    let one = prop::sample::select(EXPRESSIONS.to_vec());
    let operator = prop::sample::select(vec!["||", "+", "-", " IS ", "/**/||"]);
    prop_oneof![
        3 => one.clone().prop_map(str::to_owned),
        1 => (one.clone(), operator, one).prop_map(|(left, operator, right)| format!("{left}{operator}{right}")),
    ]
}

fn statement() -> impl Strategy<Value = String> {
    let (e, f, g) = (expression(), expression(), expression());
    (0_u8..9, e, f, g).prop_map(|(form, e, f, g)| match form {
        0 => format!("INSERT INTO t (a, b) VALUES ({e},{f})"),
        1 => format!("INSERT INTO t (a, b) VALUES ({e}, 1), ({f}, {g})"),
        2 => format!("UPDATE t SET a = {e}, b = {f} WHERE id <> 2"),
        3 => format!("DELETE FROM t WHERE a > {e} OR b = {f}"),
        4 => format!("INSERT INTO t (a, b) SELECT {e}, x FROM u ORDER BY x"),
        5 => {
            format!("INSERT INTO t (id, a) VALUES (1, {e}) ON CONFLICT DO UPDATE SET b = {f}, c = excluded.a")
        }
        6 => format!("REPLACE INTO t (id, a, b) VALUES (2, {e}, {f}) RETURNING {g}"),
        7 => format!(
            "WITH w(p, q) AS (SELECT {e}, {f}) INSERT INTO t (a, b) SELECT p, q FROM w, t ORDER BY id"
        ),
        _ => format!("UPDATE t SET a = {e} FROM u WHERE u.x = 5 AND t.id = 1"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clock_expressions_give_the_same_when_frozen(expression in clock_expression()) {
        same_when_frozen(&expression);
    }

    /// Nothing differs that was not told: neither in a text nobody complained of, nor in a frozen one.
    #[test]
    fn no_difference_is_left_untold(
        sql in statement(),
        bound in prop::collection::vec(prop::sample::select(vec!["now", "NOW", "localtime", "x", "2", "2020-01-01"]), 9),
    ) {
        let Some(first) = run(1_000, &sql, &bound) else { return Ok(()) };
        let reasons = &classify(&sql).statements[0].reasons;
        if reasons.is_empty() {
            prop_assert_eq!(Some(first), run(2_003, &sql, &bound), "{}", sql);
        }
        let offset = local_offset(&database(0));
        let frozen = frozen_at(&sql, INSTANT, Some(offset), &bound);
        if frozen.unfrozen.is_empty() {
            let text = frozen.sql.unwrap_or(sql);
            prop_assert_eq!(frozen_at(&text, INSTANT + 999, Some(offset), &bound).sql, None, "{}", text);
            let first = run(1_000, &text, &bound);
            prop_assert!(first.is_some(), "SQLite refuses {}", text);
            prop_assert_eq!(first, run(2_003, &text, &bound), "{}", text);
        }
    }

    #[test]
    fn freezing_any_text_neither_panics_nor_breaks_it(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..30)) {
        let sql = format!("INSERT INTO t VALUES ({}", words.concat());
        if let Some(text) = frozen_at(&sql, INSTANT, None, &["now", "now"]).sql {
            let kinds = |sql: &str| classify(sql).statements.iter().map(|s| s.kind).collect::<Vec<_>>();
            prop_assert_eq!(kinds(&sql), kinds(&text), "{}\n{}", sql, text);
        }
    }
}

const WORDS: [&str; 22] = [
    "random(",
    "date(",
    "strftime(",
    "timediff(",
    "'now'",
    "'localtime'",
    "'subsec'",
    ")",
    "(",
    ",",
    "?",
    "?2",
    "x",
    "CURRENT_DATE",
    " ",
    "-",
    "1",
    "/*",
    "*/",
    ";DELETE FROM t WHERE ",
    "changes()",
    " SELECT ",
];
