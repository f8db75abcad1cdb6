//! Whatever the network does, each write is applied once, in order, and its outcome is true.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use afterquery::{
    config::Config,
    engine::Engine,
    sql::{Parameters, Value},
    write::{
        Write,
        outcome::Status,
        render::{ParameterSet, Values, draft, render},
    },
};
use common::{NoParameters, Server, config, journal};
use proptest::prelude::*;

const SCHEMA: &str = "CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0));
    INSERT INTO counter VALUES (1, 0), (2, 0);
    CREATE TABLE log (at INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL);
    CREATE TABLE once (entry INTEGER PRIMARY KEY, body);";

/// What makes a row that fails leave those before it in the table.
const FAILS_HALFWAY: &str = "CREATE TABLE other (a UNIQUE ON CONFLICT FAIL);
    CREATE TRIGGER no_negative BEFORE INSERT ON log WHEN new.entry IS NULL BEGIN SELECT RAISE(FAIL, 'negative'); END;";

/// One write of a test.
#[derive(Debug, Clone)]
enum Step {
    /// Not idempotent, with its place in the order.
    Count,
    /// Two statements that belong together.
    Pair,
    /// A row that can be sent as one statement with others.
    Row,
    /// Several in one write.
    Rows(usize),
    /// One that breaks a constraint.
    BadRow,
    /// Several in one write, the last of which breaks it.
    BadRows(usize),
    /// Breaks a constraint.
    Bad,
    /// Its second statement breaks a constraint, after a first that does not.
    HalfBad,
    /// A value larger than any text may be.
    Large(usize),
    /// More statements than fit in one text.
    Long,
    /// One statement that fills a text, or a part of one, or several.
    Wide(usize),
    /// One INSERT of so many rows, more than fit in one text.
    Bulk(usize),
    /// The same with values that JSON does not say.
    BulkApart(usize),
    /// The same, and the last row breaks a constraint.
    BadBulk(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Count),
        6 => Just(Step::Pair),
        20 => Just(Step::Row),
        3 => (1..300usize).prop_map(Step::Rows),
        3 => Just(Step::BadRow),
        1 => (1..150usize).prop_map(Step::BadRows),
        2 => Just(Step::Bad),
        2 => Just(Step::HalfBad),
        1 => (1..150_000usize).prop_map(Step::Large),
        1 => Just(Step::Long),
        2 => (1..98_000usize).prop_map(Step::Wide),
        1 => prop_oneof![
            (98_000..250_000usize).prop_map(Step::Wide),
            (20_000..40_000usize).prop_map(Step::Bulk),
            (14_000..30_000usize).prop_map(Step::BulkApart),
            (3_000..4_000usize).prop_map(Step::Rows),
        ],
    ]
}

const BAD_ROW: &str = "INSERT INTO log (entry) VALUES (NULL)";

/// Two values for a statement.
struct Two<'a>(i64, &'a [u8]);

impl ParameterSet for Two<'_> {
    fn count(&self) -> Option<usize> {
        Some(2)
    }

    fn statement(&self, _first: u32, render: &mut dyn FnMut(&dyn Parameters)) {
        struct Of<'a>([Value<'a>; 2]);
        impl Parameters for Of<'_> {
            fn bind(
                &self,
                hole: &afterquery::sql::Hole,
                take: &mut dyn FnMut(Value<'_>),
            ) -> Result<(), String> {
                self.0.as_slice().bind(hole, take)
            }
        }
        render(&Of([Value::Integer(self.0), Value::Blob(self.1)]));
    }
}

impl Step {
    fn submit(&self, engine: &Engine, number: usize) -> Arc<Write> {
        let log = format!("INSERT INTO log (entry) VALUES ({number})");
        let sql = match self {
            Self::Count => format!("UPDATE counter SET n = n + 1 WHERE id = 1; {log}"),
            Self::Pair => format!("UPDATE counter SET n = n + 1; {log}"),
            Self::Row => log.clone(),
            Self::Rows(count) => format!("{log};").repeat(*count),
            Self::BadRow => BAD_ROW.into(),
            Self::BadRows(count) => format!("{log};").repeat(*count) + BAD_ROW,
            Self::Bad => "UPDATE counter SET n = -1".into(),
            Self::HalfBad => format!("{log}; UPDATE counter SET n = -1"),
            Self::Large(_) => format!("INSERT INTO once VALUES (?, ?); {log}"),
            Self::Long => {
                let filler = "UPDATE counter SET n = n + 1 WHERE id = 2 AND '' <> 'a text that takes room';";
                filler.repeat(1_500) + &log
            }
            Self::Bulk(rows) => format!("{log}{}", format!(",({number})").repeat(rows - 1)),
            Self::BulkApart(rows) => format!("{log}{}", format!(",(0x{number:X})").repeat(rows - 1)),
            Self::BadBulk(rows) => format!("{log}{},(NULL)", format!(",({number})").repeat(*rows)),
            Self::Wide(size) => {
                format!("INSERT INTO log (entry) SELECT {number} WHERE '{}' <> ''", "x".repeat(*size))
            }
        };
        let plan = engine.plan(&sql);
        let mut statements = Vec::new();
        let rendered = match self {
            Self::Large(size) => {
                let bytes = vec![number as u8; *size];
                render(&plan, Values::One(&Two(number as i64, &bytes)), &mut statements)
            }
            _ => render(&plan, Values::One(&NoParameters), &mut statements),
        };
        let expected = match self {
            Self::Row | Self::BadRow => Some(1),
            Self::Bulk(rows) | Self::BulkApart(rows) => Some(*rows as i64),
            _ => None,
        };
        engine.submit(draft(rendered.map(|()| statements), plan.targets(), expected))
    }

    fn is_good(&self) -> bool {
        !matches!(self, Self::Bad | Self::HalfBad | Self::BadRow | Self::BadRows(_) | Self::BadBulk(_))
    }

    /// How many entries it leaves in the log, on a replica that takes a failed text back or not.
    fn entries(&self, rolls_back: bool) -> usize {
        match self {
            Self::Rows(count) | Self::Bulk(count) | Self::BulkApart(count) => *count,
            Self::BadRows(count) if !rolls_back => *count,
            Self::HalfBad => usize::from(!rolls_back),
            _ => usize::from(self.is_good()),
        }
    }

    fn counts(&self) -> (i64, i64) {
        match self {
            Self::Count => (1, 0),
            Self::Pair => (1, 1),
            Self::Long => (0, 1_500),
            Self::Row | Self::Rows(_) | Self::BadRow | Self::BadRows(_) => (0, 0),
            Self::Bad | Self::HalfBad | Self::Large(_) | Self::Wide(_) => (0, 0),
            Self::Bulk(_) | Self::BulkApart(_) | Self::BadBulk(_) => (0, 0),
        }
    }
}

/// The replica and what is between.
#[derive(Debug, Clone, Copy)]
struct World {
    seed: u64,
    fault_percent: u8,
    rolls_back: bool,
    fails_halfway: bool,
    on_disk: bool,
}

const CALM: World =
    World { seed: 1, fault_percent: 0, rolls_back: false, fails_halfway: false, on_disk: false };

fn deliver(steps: &[Step], world: World) -> Vec<String> {
    let World { seed, fault_percent, rolls_back, fails_halfway, on_disk } = world;
    let schema = if fails_halfway { [SCHEMA, FAILS_HALFWAY].concat() } else { SCHEMA.to_owned() };
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let servers = runtime.block_on(async {
        let worst = Server::start(&schema, seed, fault_percent, rolls_back).await;
        let plain = Server::start(&schema, seed, 0, rolls_back).await;
        [worst, plain]
    });
    let config = Config { journal: on_disk.then(|| journal(&directory)), ..config(&servers) };
    let engine = Engine::start(config, Box::new(|_| {})).unwrap();
    let writes: Vec<_> = steps.iter().enumerate().map(|(at, step)| step.submit(&engine, at)).collect();
    let flushed = engine.flush(Some(Instant::now() + Duration::from_secs(60)), || false);
    assert!(flushed, "not settled: {:?}", engine.shared().status[0].condition());
    // What the network still holds back must change nothing any more.
    servers[0].calm();

    for server in &servers {
        let entries = |(at, step): (usize, &Step)| vec![at as i64; step.entries(rolls_back)];
        let expected: Vec<_> = steps.iter().enumerate().flat_map(entries).collect();
        assert_eq!(server.query::<i64>("SELECT entry FROM log ORDER BY at"), expected, "order");
        let sums = steps.iter().map(Step::counts).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(server.query::<i64>("SELECT n FROM counter ORDER BY id"), [sums.0, sums.1], "counts");
        let wrong = "SELECT count(*) FROM once WHERE typeof(body) <> 'blob' OR hex(substr(body, 1, 1)) <> printf('%02X', entry % 256)";
        assert_eq!(server.query::<i64>(wrong), [0], "large values");
        assert_eq!(server.query::<Option<i64>>("SELECT sum(length(body)) FROM once"), [large_bytes(steps)]);
    }
    for (step, write) in steps.iter().zip(&writes) {
        let outcomes = write.settlement.outcomes();
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            let fulfilled = matches!(outcome.status, Status::Fulfilled { .. });
            assert_eq!(fulfilled, step.is_good(), "{step:?}: {outcome:?}");
            let differs = matches!(outcome.status, Status::Fulfilled { differs_from: Some(_), .. });
            assert!(!differs, "{step:?}: {outcome:?}");
        }
    }
    assert!(engine.close(Some(Instant::now() + Duration::from_secs(5)), || false));
    assert_eq!(
        servers[1].query::<i64>("SELECT count(*) FROM tmp_afterquery_value"),
        [0],
        "nothing staged is left"
    );
    let letters = steps.iter().any(|step| !step.is_good());
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert!(left == 0 || letters, "the journal is gone when nothing is left to do");
    let replica = servers[1].replica.lock().unwrap();
    replica.requests.clone()
}

fn large_bytes(steps: &[Step]) -> Option<i64> {
    let sizes = steps.iter().filter_map(|step| match step {
        Step::Large(size) => Some(*size as i64),
        _ => None,
    });
    sizes.reduce(|a, b| a + b)
}

#[test]
fn a_calm_network_delivers_everything() {
    let steps =
        [Step::Count, Step::Pair, Step::Bad, Step::HalfBad, Step::Large(100_000), Step::Long, Step::Count];
    deliver(&steps, CALM);
    deliver(&steps, World { rolls_back: true, ..CALM });
}

#[test]
fn what_is_too_long_for_a_text_arrives_as_one() {
    let good = [Step::Bulk(30_000), Step::BulkApart(30_000), Step::Rows(4_000), Step::Wide(250_000)];
    for rolls_back in [false, true] {
        let world = World { rolls_back, ..CALM };
        let requests = deliver(&good, world);
        // The rows and values are sent ahead, but for those that JSON does not say.
        let texts =
            requests.iter().filter(|sql| sql.contains("ON CONFLICT (origin) DO UPDATE SET seq=")).count();
        assert!((4..10).contains(&texts), "{texts}");
        deliver(&[Step::BadBulk(30_000), Step::Count, Step::BadRows(4_000), Step::Count], world);
    }
}

#[test]
fn rows_are_joined_and_the_one_at_fault_is_found() {
    let rows = |count| std::iter::repeat_n(Step::Row, count);
    let steps: Vec<_> = rows(150).chain([Step::BadRow]).chain(rows(200)).chain([Step::BadRows(9)]).collect();
    for rolls_back in [false, true] {
        let requests = deliver(&steps, World { rolls_back, ..CALM });
        // The first text may have left with the first write alone.
        assert!(requests.iter().any(|sql| sql.contains("),(")), "{requests:?}");
    }
}

#[test]
fn rows_that_no_longer_fit_are_not_in_the_way_of_the_one_at_fault() {
    let steps = vec![[Step::Bad, Step::Wide(97_500), Step::Rows(300)]; 5].concat();
    for rolls_back in [false, true] {
        deliver(&steps, World { rolls_back, ..CALM });
    }
}

#[test]
fn rows_are_sent_apart_where_one_that_fails_would_leave_others() {
    let mut steps = vec![Step::Row; 300];
    steps[200] = Step::BadRow;
    let requests = deliver(&steps, World { fails_halfway: true, ..CALM });
    let joined = requests.iter().filter(|sql| sql.contains("),(")).count();
    assert_eq!(joined, 1, "the head of the first text with joined rows refuses it");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_worst_network_delivers_everything_once_and_in_order(
        steps in prop::collection::vec(step(), 1..60),
        seed: u64,
        fault_percent in 0u8..60,
        rolls_back: bool,
        fails_halfway: bool,
        on_disk: bool,
    ) {
        deliver(&steps, World { seed, fault_percent, rolls_back, fails_halfway, on_disk });
    }
}
