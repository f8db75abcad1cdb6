//! A replica for the tests: real HTTP, a real SQLite, and a network that does its worst, all from one seed.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use afterquery::{
    config::{Config, OnNondeterministic, OnReject, ReplicaConfig},
    journal::{Durability, JournalConfig, Pending},
    sql::{Parameters, Value as Bound},
    wire::Endpoint,
    write::render::ParameterSet,
};

use rusqlite::{Connection, fallible_iterator::FallibleIterator, types::ValueRef};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It runs and is answered.
    None,
    /// The connection breaks before it runs.
    Lost,
    /// It runs, and the connection breaks before the answer.
    AnswerLost,
    /// It runs, and half of the answer comes.
    AnswerCut,
    /// An error comes, and it runs later, between two other requests: a late duplicate.
    Late,
    /// The replica is restarting: a 500 of its own, nothing runs.
    Internal,
    /// Someone in front is overloaded, and says so.
    Overloaded,
    /// Someone in front answers with a page.
    Page,
}

const FAULTS: [Fault; 7] = [
    Fault::Lost,
    Fault::AnswerLost,
    Fault::AnswerCut,
    Fault::Late,
    Fault::Internal,
    Fault::Overloaded,
    Fault::Page,
];

/// The state of a replica.
pub struct Replica {
    pub db: Connection,
    random: fastrand::Rng,
    /// How many of a hundred requests go wrong.
    pub fault_percent: u8,
    /// Whether a text that fails is undone as a whole. StarbaseDB keeps what ran before the failure.
    pub rolls_back: bool,
    late: Vec<String>,
    pub requests: Vec<String>,
    /// Whether somebody in front refuses a text, with which status.
    pub refuses: fn(&str) -> Option<u16>,
    /// A header of its answers, with its line break.
    pub header: &'static str,
}

/// A running replica.
pub struct Server {
    pub address: SocketAddr,
    pub replica: Arc<Mutex<Replica>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves an empty database with `schema`.
    pub async fn start(schema: &str, seed: u64, fault_percent: u8, rolls_back: bool) -> Self {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("PRAGMA foreign_keys=ON").unwrap();
        db.execute_batch(schema).unwrap();
        let random = fastrand::Rng::with_seed(seed);
        let (late, requests) = (Vec::new(), Vec::new());
        let replica =
            Replica { db, random, fault_percent, rolls_back, late, requests, refuses: |_| None, header: "" };
        let replica = Arc::new(Mutex::new(replica));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&replica);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, replica, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs what is still under way, and then does nothing wrong any more.
    pub fn calm(&self) {
        let mut replica = self.replica.lock().unwrap();
        replica.fault_percent = 0;
        while let Some(sql) = replica.late.pop() {
            let _ = replica.run(&sql);
        }
    }

    pub fn query<T: rusqlite::types::FromSql>(&self, sql: &str) -> Vec<T> {
        let replica = self.replica.lock().unwrap();
        let mut statement = replica.db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

impl Replica {
    /// What happens to the next request, and what runs before it because it was late.
    fn meet(&mut self) -> Fault {
        if !self.late.is_empty() && self.random.u8(..3) == 0 {
            let at = self.random.usize(..self.late.len());
            let sql = self.late.swap_remove(at);
            let _ = self.run(&sql);
        }
        if self.random.u8(..100) < self.fault_percent {
            FAULTS[self.random.usize(..FAULTS.len())]
        } else {
            Fault::None
        }
    }

    /// Runs a text as StarbaseDB does: what ran before a failure stays, unless `rolls_back`.
    fn run(&mut self, sql: &str) -> Result<Vec<Value>, String> {
        self.db.execute_batch("SAVEPOINT text").unwrap();
        let result = self.run_statements(sql);
        let undo = result.is_err() && self.rolls_back;
        self.db.execute_batch(if undo { "ROLLBACK TO text; RELEASE text" } else { "RELEASE text" }).unwrap();
        result
    }

    fn run_statements(&mut self, sql: &str) -> Result<Vec<Value>, String> {
        let failed = |error: rusqlite::Error| match error {
            rusqlite::Error::SqliteFailure(code, message) => {
                let name = if code.code == rusqlite::ErrorCode::ConstraintViolation {
                    "SQLITE_CONSTRAINT"
                } else {
                    "SQLITE_ERROR"
                };
                format!("{}: {name}", message.unwrap_or_default())
            }
            other => format!("{other}: SQLITE_ERROR"),
        };
        let mut rows = Vec::new();
        let mut batch = rusqlite::Batch::new(&self.db, sql);
        while let Some(mut statement) = batch.next().map_err(failed)? {
            rows.clear();
            let names: Vec<_> = statement.column_names().map(str::to_owned).collect();
            let mut cursor = statement.raw_query();
            while let Some(row) = cursor.next().map_err(failed)? {
                let columns = names.iter().enumerate().map(|(at, name)| {
                    let value = match row.get_ref(at).unwrap() {
                        ValueRef::Null => Value::Null,
                        ValueRef::Integer(n) => json!(n),
                        ValueRef::Real(x) => json!(x),
                        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
                        ValueRef::Blob(_) => json!({}),
                    };
                    (name.clone(), value)
                });
                rows.push(Value::Object(columns.collect::<Map<_, _>>()));
            }
        }
        Ok(rows)
    }

    fn answer(&mut self, sql: &str) -> (u16, String) {
        self.requests.push(sql.to_owned());
        if let Some(status) = (self.refuses)(sql) {
            return (status, String::new());
        }
        match self.run(sql) {
            Ok(rows) => (200, json!({ "result": rows }).to_string()),
            Err(error) => (500, json!({ "error": error }).to_string()),
        }
    }
}

async fn serve(mut stream: TcpStream, replica: Arc<Mutex<Replica>>) {
    let mut buffer = Vec::new();
    while let Some(body) = read_request(&mut stream, &mut buffer).await {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let sql = body["sql"].as_str().unwrap().to_owned();
        let (fault, answer, header) = {
            let mut replica = replica.lock().unwrap();
            let fault = replica.meet();
            let answer = match fault {
                Fault::Lost => (0, String::new()),
                Fault::None | Fault::AnswerLost | Fault::AnswerCut => replica.answer(&sql),
                Fault::Late => {
                    replica.late.push(sql);
                    (503, "late".into())
                }
                Fault::Internal => (500, r#"{"error":"internal error; reference = abc"}"#.into()),
                Fault::Overloaded => (429, String::new()),
                Fault::Page => (200, "<html>".into()),
            };
            (fault, answer, replica.header)
        };
        let (status, text) = answer;
        let whole = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nretry-after: 0\r\ncontent-type: application/json\r\n{header}\r\n{text}",
            text.len()
        );
        let sent = match fault {
            Fault::Lost | Fault::AnswerLost => return,
            Fault::AnswerCut => &whole.as_bytes()[..whole.len() - 1 - text.len() / 2],
            _ => whole.as_bytes(),
        };
        if stream.write_all(sent).await.is_err() || fault == Fault::AnswerCut {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
            let length: usize =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
            if buffer.len() >= head + 4 + length {
                let body = buffer[head + 4..head + 4 + length].to_vec();
                buffer.drain(..head + 4 + length);
                return Some(body);
            }
        }
        let mut chunk = [0; 16 << 10];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Settings for these replicas, with next to no pauses.
pub fn config(servers: &[Server]) -> Config {
    let replica = |server: &Server| ReplicaConfig {
        name: server.url(),
        endpoint: Endpoint::new(&server.url(), Some("token")).unwrap(),
        tables: None,
        max_lag: Pending { writes: 100_000, bytes: 1 << 30 },
    };
    Config {
        replicas: servers.iter().map(replica).collect(),
        ddl: false,
        on_reject: OnReject::DeadLetter,
        nondeterministic: OnNondeterministic::Warn,
        max_pending: Pending { writes: 100_000, bytes: 1 << 30 },
        journal: None,
        max_dead_letters: 1_000,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        retry_base: Duration::from_micros(10),
        retry_max: Duration::from_micros(200),
        log_values: false,
    }
}

/// Where the writes are kept.
pub fn journal(directory: &tempfile::TempDir) -> JournalConfig {
    JournalConfig {
        path: directory.path().into(),
        durability: Durability::Async,
        max_bytes: 1 << 30,
        origin: None,
    }
}

/// No values for a statement.
pub struct NoParameters;

impl ParameterSet for NoParameters {
    fn count(&self) -> Option<usize> {
        Some(0)
    }

    fn statement(&self, _first: u32, render: &mut dyn FnMut(&dyn Parameters)) {
        struct None;
        impl Parameters for None {
            fn bind(&self, _: &afterquery::sql::Hole, _: &mut dyn FnMut(Bound<'_>)) -> Result<(), String> {
                Err("no parameters".into())
            }
        }
        render(&None);
    }
}
