//! How long it takes to classify a statement. Run with `make bench-classify`.

use std::hint::black_box;

use afterquery::sql::classify;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const STATEMENTS: [(&str, &str); 7] = [
    ("select", "SELECT id, name FROM users WHERE id = ?"),
    ("insert", "INSERT INTO users (id, name, email, age, created) VALUES (?, ?, ?, ?, ?)"),
    ("insert_named", "INSERT INTO users (id, name, email) VALUES (:id, :name, :email)"),
    ("update", "UPDATE users SET name = ?, email = ?, seen = ? WHERE id = ?"),
    ("upsert", "INSERT INTO kv (k, v) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"),
    ("frozen_later", "INSERT INTO log (at, day, text) VALUES (CURRENT_TIMESTAMP, date('now'), upper(?))"),
    (
        "with",
        "WITH RECURSIVE chain(id, depth) AS (SELECT id, 0 FROM nodes WHERE parent IS NULL UNION ALL \
         SELECT n.id, c.depth + 1 FROM nodes AS n JOIN chain AS c ON n.parent = c.id) \
         INSERT INTO depths (id, depth) SELECT id, max(depth) FROM chain WHERE depth < ? GROUP BY id",
    ),
];

fn statements(criterion: &mut Criterion) {
    if cfg!(debug_assertions) {
        eprintln!("refused: this is a debug build");
        std::process::exit(2);
    }
    let mut group = criterion.benchmark_group("classify");
    for (name, sql) in STATEMENTS {
        group.bench_function(name, |bencher| bencher.iter(|| classify(black_box(sql))));
    }
    group.finish();
}

fn large(criterion: &mut Criterion) {
    let rows = vec!["(?, ?, 'text of the row', x'00ff')"; 10_000].join(", ");
    let sql = format!("INSERT INTO rows VALUES {rows}");
    let mut group = criterion.benchmark_group("classify_large");
    group.throughput(Throughput::Bytes(sql.len() as u64));
    group.bench_function("insert_of_10000_rows", |bencher| bencher.iter(|| classify(black_box(&sql))));
    group.finish();
}

criterion_group!(benches, statements, large);
criterion_main!(benches);
