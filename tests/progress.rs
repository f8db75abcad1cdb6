//! What stands in the way of one write stands in the way of no other, and nothing is tried for ever in the same way.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use afterquery::{
    config::Config,
    engine::Engine,
    journal::{self, JournalConfig, LetterKey, Pending},
    replica::Activity,
    sql::{Hole, Parameters, Value},
    wire::{MAX_SQL_BYTES, MAX_TEXT_BYTES},
    write::{
        Draft, Write,
        outcome::Status,
        render::{ParameterSet, Values, draft, render},
    },
};
use common::{NoParameters, Server, config, journal as journal_in};
use tokio::runtime::Runtime;

const SCHEMA: &str = "CREATE TABLE log (at INTEGER PRIMARY KEY, entry); CREATE TABLE other (entry, body);";
const LOG: &str = "SELECT entry FROM log ORDER BY at";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn start(runtime: &Runtime) -> Server {
    runtime.block_on(Server::start(SCHEMA, 1, 0, false))
}

fn run(config: Config) -> Engine {
    Engine::start(config, Box::new(|_| {})).unwrap()
}

fn drafted(engine: &Engine, sql: &str, values: &dyn ParameterSet) -> Draft {
    let plan = engine.plan(sql);
    let mut statements = Vec::new();
    let rendered = render(&plan, Values::One(values), &mut statements);
    draft(rendered.map(|()| statements), plan.targets(), None)
}

fn submit(engine: &Engine, sql: &str) -> Arc<Write> {
    engine.submit(drafted(engine, sql, &NoParameters))
}

fn entry(n: i64) -> String {
    format!("INSERT INTO log (entry) VALUES ({n})")
}

fn flush(engine: &Engine) {
    let flushed = engine.flush(Some(Instant::now() + Duration::from_secs(30)), || false);
    assert!(flushed, "not settled: {:?}", engine.shared().status[0].condition());
}

fn close(engine: &Engine) {
    assert!(engine.close(Some(Instant::now() + Duration::from_secs(30)), || false));
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn refuse(server: &Server, refuses: fn(&str) -> Option<u16>) {
    server.replica.lock().unwrap().refuses = refuses;
}

fn is_fulfilled(write: &Write) -> bool {
    write.settlement.outcomes().iter().all(|outcome| matches!(outcome.status, Status::Fulfilled { .. }))
}

fn activity(engine: &Engine, replica: usize) -> Activity {
    engine.shared().status[replica].condition().activity
}

/// A blob larger than any text may be.
struct LargeBlob;

impl ParameterSet for LargeBlob {
    fn count(&self) -> Option<usize> {
        Some(1)
    }

    fn statement(&self, _first: u32, render: &mut dyn FnMut(&dyn Parameters)) {
        struct Of([Value<'static>; 1]);
        impl Parameters for Of {
            fn bind(&self, hole: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
                self.0.as_slice().bind(hole, take)
            }
        }
        static BLOB: [u8; 300_000] = [7; 300_000];
        render(&Of([Value::Blob(&BLOB)]));
    }
}

/// Submits while nothing gets through, so that all of it is there for the first text.
fn together<T>(server: &Server, refuses: fn(&str) -> Option<u16>, submit: impl FnOnce() -> T) -> T {
    refuse(server, |_| Some(503));
    let submitted = submit();
    refuse(server, refuses);
    submitted
}

#[test]
fn a_value_that_cannot_be_staged_is_the_only_one_rejected() {
    let runtime = runtime();
    let server = start(&runtime);
    let engine = run(config(std::slice::from_ref(&server)));
    let too_large = |sql: &str| sql.starts_with("INSERT OR IGNORE INTO tmp_afterquery_value").then_some(413);
    let writes = together(&server, too_large, || {
        let before: Vec<_> = (0..5).map(|n| submit(&engine, &entry(n))).collect();
        let large = engine.submit(drafted(&engine, "INSERT INTO other (body) VALUES (?)", &LargeBlob));
        (before, large, submit(&engine, &entry(9)))
    });
    flush(&engine);
    assert!(writes.0.iter().chain([&writes.2]).all(|write| is_fulfilled(write)));
    assert!(!is_fulfilled(&writes.1));
    assert_eq!(server.query::<i64>(LOG), [0, 1, 2, 3, 4, 9]);
    close(&engine);
}

fn rows(count: usize) -> String {
    format!("INSERT INTO log (entry) VALUES (1){}", ",(0x1)".repeat(count - 1))
}

#[test]
fn a_text_that_a_peer_takes_and_somebody_before_it_does_not_goes_in_parts() {
    let runtime = runtime();
    let server = start(&runtime);
    server.replica.lock().unwrap().header = "afterquery-peer: 1 max_sql_bytes=4194304\r\n";
    for (refuses, most) in [
        ((|_| None) as fn(&str) -> Option<u16>, 1),
        (|sql| (sql.len() > 300_000).then_some(413), 99),
        (|sql| (sql.len() > 200_000).then_some(504), 99),
    ] {
        let engine = run(config(std::slice::from_ref(&server)));
        // From its answer it knows what the replica takes.
        submit(&engine, &entry(0));
        flush(&engine);
        let before = server.replica.lock().unwrap().requests.len();
        refuse(&server, refuses);
        let write = submit(&engine, &rows(100_000));
        flush(&engine);
        assert!(is_fulfilled(&write));
        assert_eq!(server.query::<i64>("SELECT count(*) FROM log"), [100_001]);
        let requests = server.replica.lock().unwrap().requests.len() - before;
        assert!(requests <= most, "{requests}");
        server.replica.lock().unwrap().db.execute_batch("DELETE FROM log").unwrap();
        close(&engine);
    }
}

#[test]
fn a_replica_is_not_believed_to_take_any_text() {
    let runtime = runtime();
    let server = start(&runtime);
    for header in ["1 max_sql_bytes=999999999999", "2 max_sql_bytes=999999", "1 max_sql_bytes=5", "1"] {
        let header = format!("afterquery-peer: {header}\r\n").leak();
        server.replica.lock().unwrap().header = header;
        let engine = run(config(std::slice::from_ref(&server)));
        submit(&engine, &entry(0));
        flush(&engine);
        let write = submit(&engine, &rows(if header.contains("9999999999") { 750_000 } else { 40_000 }));
        flush(&engine);
        assert!(is_fulfilled(&write));
        let most = if header.contains("9999999999") { MAX_TEXT_BYTES } else { MAX_SQL_BYTES };
        let mut replica = server.replica.lock().unwrap();
        assert!(replica.requests.iter().all(|sql| sql.len() <= most));
        replica.requests.clear();
        drop(replica);
        close(&engine);
    }
}

#[test]
fn a_text_that_takes_too_long_is_made_smaller() {
    let runtime = runtime();
    let server = start(&runtime);
    let engine = run(config(std::slice::from_ref(&server)));
    let slow = |sql: &str| (sql.matches("UPDATE other").count() > 3).then_some(504);
    together(&server, slow, || {
        for n in 0..200 {
            submit(&engine, &format!("UPDATE other SET body = {n}; {}", entry(n)));
        }
    });
    flush(&engine);
    assert_eq!(server.query::<i64>(LOG), (0..200).collect::<Vec<_>>());
    close(&engine);
}

#[test]
fn rows_behind_a_change_of_the_schema_are_not_joined() {
    let runtime = runtime();
    let server = start(&runtime);
    let engine = run(Config { ddl: true, ..config(std::slice::from_ref(&server)) });
    let trigger = "CREATE TRIGGER no_seven BEFORE INSERT ON log WHEN new.entry = 7 \
                   BEGIN SELECT RAISE(FAIL, 'seven'); END";
    let writes: Vec<_> = together(
        &server,
        |_| None,
        || {
            submit(&engine, &entry(1));
            submit(&engine, trigger);
            (5..9).map(|n| submit(&engine, &entry(n))).collect()
        },
    );
    flush(&engine);
    assert_eq!(server.query::<i64>(LOG), [1, 5, 6, 8]);
    assert_eq!(writes.iter().map(|write| is_fulfilled(write)).collect::<Vec<_>>(), [true, true, false, true]);
    close(&engine);
}

#[test]
fn what_is_none_of_a_replicas_business_is_no_hole_in_its_journal() {
    let runtime = runtime();
    let servers = [start(&runtime), start(&runtime)];
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config { journal: Some(journal_in(&directory)), ..config(&servers) };
    let only = |table: &str| Some(vec![table.into()]);
    config.replicas[0].tables = only("other");
    config.replicas[0].max_lag = Pending { writes: 1, bytes: 1 << 30 };
    config.replicas[1].tables = only("log");
    refuse(&servers[0], |_| Some(503));
    let engine = run(config);
    submit(&engine, &entry(0));
    submit(&engine, "UPDATE other SET body = 1");
    submit(&engine, "UPDATE other SET body = 2");
    until("the first is detached", || activity(&engine, 0) == Activity::Detached);
    for n in 1..50 {
        // From now on these are settled before they are in the file.
        submit(&engine, "UPDATE other SET body = 3");
        until("the second looked", || {
            let acknowledged = &engine.shared().status[1].acknowledged;
            acknowledged.load(Ordering::Relaxed) == engine.shared().own.journal.last()
        });
        submit(&engine, &entry(n));
        flush(&engine);
    }
    until("the second has everything", || servers[1].query::<i64>(LOG).len() == 50);
    assert_eq!(activity(&engine, 1), Activity::Live);
    close(&engine);
}

#[test]
fn numbers_that_concern_no_replica_are_no_hole_either() {
    let runtime = runtime();
    let server = start(&runtime);
    let directory = tempfile::tempdir().unwrap();
    let journal = Some(JournalConfig { origin: Some("named".into()), ..journal_in(&directory) });
    let engine = run(Config { journal, ..config(std::slice::from_ref(&server)) });
    for n in 1..50 {
        // Each second number is left out.
        engine.submit_as(2 * n as u64, drafted(&engine, &entry(n), &NoParameters)).unwrap();
        assert!(engine.sync());
    }
    flush(&engine);
    assert_eq!(server.query::<i64>(LOG), (1..50).collect::<Vec<_>>());
    close(&engine);
}

#[test]
fn a_row_made_anew_with_another_key_is_taken_for_what_it_is() {
    let runtime = runtime();
    let server = start(&runtime);
    let directory = tempfile::tempdir().unwrap();
    let journal = || Some(JournalConfig { origin: Some("named".into()), ..journal_in(&directory) });
    let engine = run(Config { journal: journal(), ..config(std::slice::from_ref(&server)) });
    until("it has greeted", || activity(&engine, 0) == Activity::Live);
    close(&engine);
    let change = "UPDATE tmp_afterquery_watermark SET id = 9 WHERE origin = 'named'";
    assert_eq!(server.replica.lock().unwrap().db.execute(change, []).unwrap(), 1);
    let engine = run(Config { journal: journal(), ..config(std::slice::from_ref(&server)) });
    submit(&engine, &entry(1));
    flush(&engine);
    assert_eq!(server.query::<i64>(LOG), [1]);
    close(&engine);
}

#[test]
fn what_was_sent_before_a_replica_was_synced_anew_cannot_run_after_it() {
    let runtime = runtime();
    let server = start(&runtime);
    let mut config = config(std::slice::from_ref(&server));
    config.replicas[0].max_lag = Pending { writes: 20, bytes: 1 << 30 };
    let engine = run(config);
    submit(&engine, &entry(1));
    flush(&engine);
    // It is still under way somewhere.
    refuse(&server, |_| Some(503));
    let requests = || server.replica.lock().unwrap().requests.clone();
    let is_text = |sql: &String| sql.contains("VALUES (2)");
    submit(&engine, &entry(2));
    until("it is sent", || requests().iter().any(is_text));
    let late = requests().into_iter().find(is_text).unwrap();
    for n in 3..30 {
        submit(&engine, &entry(n));
    }
    until("it is detached", || activity(&engine, 0) == Activity::Detached);
    refuse(&server, |_| None);
    let name = server.url();
    let before = requests().len();
    engine.resume(&name, false).unwrap();
    let moves = |sql: &String| sql.contains("ON CONFLICT (origin) DO UPDATE SET seq=excluded.seq");
    until("the row is moved", || requests().iter().skip(before).any(moves));
    let ran = server.replica.lock().unwrap().db.execute_batch(&late);
    assert!(ran.is_err(), "the head did not stop it");
    let write = submit(&engine, &entry(99));
    flush(&engine);
    assert!(is_fulfilled(&write));
    assert_eq!(server.query::<i64>(LOG), [1, 99]);
    close(&engine);
}

#[test]
fn a_letter_that_nobody_takes_any_more_stays_a_letter() {
    let runtime = runtime();
    let server = start(&runtime);
    let directory = tempfile::tempdir().unwrap();
    let config = Config { journal: Some(journal_in(&directory)), ..config(std::slice::from_ref(&server)) };
    let opened = journal::open(config.journal.as_ref(), config.limits(), &config.names()).unwrap();
    let journal = &opened.own.journal;
    let key = LetterKey { replica: server.url(), origin: opened.own.origin.clone(), seq: 1 };
    journal.close();
    let draft = draft(Ok(Vec::new()), 1, None);
    let appended = journal.replay(vec![(key, draft)]);
    assert!(!appended.unwrap_or_else(|failed| panic!("{}", failed.problem))[0].is_taken());
}
