//! The case table against our verdicts.

mod sql_support;

use afterquery::sql::classify;
use sql_support::{Expected, cases, expected_of};

#[test]
fn every_case_is_as_the_table_says() {
    let cases = cases();
    assert!(cases.len() >= 150, "the table shrank to {} cases", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let found: Vec<Expected> = classify(&case.sql).statements.iter().map(expected_of).collect();
            let expected = case.expected();
            (found != expected)
                .then(|| format!("{:?}\n  expected {expected:?}\n  found    {found:?}", case.sql))
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_begins_as_a_write_is_told_from_what_does_not() {
    let may_write = |sql: &str| classify(sql).statements[0].may_write();
    for sql in ["INSERT x", "DELETE x", "UPDATE 1", "REPLACE x", "WITH x", "DROP x", "ALTER x"] {
        assert!(may_write(sql), "{sql}");
    }
    for sql in ["SELECT (", "PRAGMA x", "nonsense", "BEGIN", "VALUES (1)", "EXPLAIN DELETE FROM t"] {
        assert!(!may_write(sql), "{sql}");
    }
}

#[test]
fn spans_leave_out_what_is_around() {
    let sql = " /* a */ DELETE FROM pets WHERE a = 'x' /* b */ ; -- c\n SELECT 1 ";
    let found = classify(sql).statements;
    assert_eq!(&sql[found[0].span.clone()], "DELETE FROM pets WHERE a = 'x'");
    assert_eq!(&sql[found[1].span.clone()], "SELECT 1");
}

#[test]
fn a_write_can_be_cut_before_its_returning() {
    let sql = "SELECT 1; DELETE FROM pets WHERE a = ?  RETURNING 'returning'";
    let write = &classify(sql).statements[1];
    let cut = write.returning.expect("it has one");
    assert_eq!(&sql[write.span.start..cut], "DELETE FROM pets WHERE a = ?  ");
}

#[test]
fn what_follows_a_nul_is_not_read() {
    let sql = "DELETE FROM a; SELECT 1\0; DELETE FROM b";
    let found = classify(sql).statements;
    let verdicts: Vec<Expected> = found.iter().map(expected_of).collect();
    assert_eq!(verdicts.len(), 2);
    assert_eq!((verdicts[1].kind.as_str(), verdicts[1].verb.as_str()), ("read", "SELECT"));
    assert_eq!(&sql[found[1].span.clone()], "SELECT 1");
    assert!(classify("\0DELETE FROM a").statements.is_empty());
}

#[test]
fn a_clock_keyword_that_is_a_name_is_no_clock() {
    let reasons = |sql: &str| classify(sql).statements[0].reasons.len();
    assert_eq!(reasons("INSERT INTO visits (current_date) VALUES ('2020-01-01')"), 0);
    assert_eq!(reasons("INSERT INTO visits (current_date) VALUES (current_date)"), 1);
    assert_eq!(reasons("UPDATE visits SET a = 1, current_time = ?"), 0);
}

#[test]
fn a_hexadecimal_number_with_separators_depends_on_the_version() {
    let reasons = |sql: &str| classify(sql).statements[0].reasons.len();
    assert_eq!(reasons("INSERT INTO pets SELECT 0x1_F"), 1);
    assert_eq!(reasons("INSERT INTO pets SELECT 0x1F, 1_000, 'x0x1_F'"), 0);
}
