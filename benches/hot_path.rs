//! What a request pays, for counting instructions: `make bench-guard` runs each function here under callgrind and
//! compares with `bench/guard.json`. Seconds are too noisy for that where CI runs.
//!
//! `hot_path NAME` runs the function of that name often enough to be warm, then once more as `guarded`, whose
//! instructions are counted. The replica does not answer, so no other thread takes part.

use std::{hint::black_box, time::Duration};

use afterquery::{
    config::{Config, OnNondeterministic, OnReject, ReplicaConfig},
    engine::Engine,
    journal::Pending,
    sql::{Hole, Parameters, Value, classify},
    wire::Endpoint,
    write::render::{ParameterSet, Values, draft, render},
};

const READ: &str = "SELECT id, name, email FROM users WHERE id = ?";
const WRITE: &str = "INSERT INTO users (id, name, email, score, note) VALUES (?, ?, ?, ?, ?)";

/// Calls that are counted together.
const CALLS: usize = 1_000;

struct Row;

impl Parameters for Row {
    fn bind(&self, hole: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
        let values = [
            Value::Integer(1_234_567),
            Value::Text("Ada Lovelace"),
            Value::Text("ada@example.com"),
            Value::Real(1.5),
            Value::Null,
        ];
        take(values[hole.index as usize - 1]);
        Ok(())
    }
}

impl ParameterSet for Row {
    fn count(&self) -> Option<usize> {
        Some(5)
    }

    fn statement(&self, _first: u32, render: &mut dyn FnMut(&dyn Parameters)) {
        render(&Row);
    }
}

fn engine() -> Result<Engine, Box<dyn std::error::Error>> {
    let unlimited = Pending { writes: usize::MAX, bytes: usize::MAX };
    // The discard port: nobody listens there.
    let endpoint = Endpoint::new("http://127.0.0.1:9", None)?;
    let replica = ReplicaConfig { name: "nobody".into(), endpoint, tables: None, max_lag: unlimited };
    let config = Config {
        replicas: vec![replica],
        ddl: false,
        on_reject: OnReject::DeadLetter,
        nondeterministic: OnNondeterministic::Warn,
        max_pending: unlimited,
        journal: None,
        max_dead_letters: 1,
        connect_timeout: Duration::from_secs(600),
        request_timeout: Duration::from_secs(600),
        retry_base: Duration::from_secs(600),
        retry_max: Duration::from_secs(600),
        log_values: false,
    };
    Ok(Engine::start(config, Box::new(|_| {}))?)
}

fn read(engine: &Engine) {
    for _ in 0..CALLS {
        black_box(engine.plan(black_box(READ)));
    }
}

fn write(engine: &Engine) {
    for _ in 0..CALLS {
        let plan = engine.plan(black_box(WRITE));
        let mut statements = Vec::with_capacity(plan.statements.len());
        let rendered = render(&plan, Values::One(&Row), &mut statements);
        black_box(engine.submit(draft(rendered.map(|()| statements), plan.targets(), Some(1))));
    }
}

fn classify_new(_: &Engine) {
    for _ in 0..CALLS {
        black_box(classify(black_box(WRITE)));
    }
}

/// What is counted: callgrind finds it by its name.
#[inline(never)]
#[unsafe(no_mangle)]
fn guarded(work: &dyn Fn()) {
    work();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if cfg!(debug_assertions) {
        return Err("refused: this is a debug build".into());
    }
    let name = std::env::args().nth(1).unwrap_or_default();
    let work = match name.as_str() {
        "read" => read,
        "write" => write,
        "classify" => classify_new,
        // `cargo bench` runs everything that is a benchmark.
        _ => {
            println!("hot_path: counts instructions, run by `make bench-guard`");
            return Ok(());
        }
    };
    let engine = engine()?;
    work(&engine);
    guarded(&|| work(&engine));
    // No replica will ever take what was written.
    std::process::exit(0);
}
