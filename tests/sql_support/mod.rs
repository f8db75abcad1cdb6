//! The case table, shared by the tests of SQL.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::expect_used, reason = "a helper of tests")]

use std::path::Path;

use afterquery::sql::{Kind, Statement};
use serde::Deserialize;

/// One text and what it is.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub sql: String,
    statements: Option<Vec<Expected>>,
    #[serde(flatten)]
    only: Option<Expected>,
}

impl Case {
    pub fn expected(&self) -> Vec<Expected> {
        let one = || self.only.clone().into_iter().collect();
        self.statements.clone().unwrap_or_else(one)
    }
}

/// What the table says of a statement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Expected {
    pub kind: String,
    pub verb: String,
    table: Option<String>,
    schema: Option<String>,
    savepoint: Option<String>,
    #[serde(default)]
    temp: bool,
    #[serde(default)]
    returning: bool,
    #[serde(default)]
    placeholders: Vec<u32>,
    ordinal: Option<Vec<bool>>,
}

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

pub fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sql_cases.toml");
    let text = std::fs::read_to_string(path).expect("the case table can be read");
    toml::from_str::<Table>(&text).expect("the case table is well formed").case
}

pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Ddl => "ddl",
        Kind::Txn => "txn",
        Kind::Other => "other",
        Kind::Unknown => "unknown",
    }
}

/// A statement in the table's terms; an empty name is none.
pub fn expected_of(statement: &Statement) -> Expected {
    let name = |name: &Option<std::borrow::Cow<'_, str>>| {
        name.as_deref().filter(|name| !name.is_empty()).map(str::to_owned)
    };
    let ordinal: Vec<bool> = statement.placeholders.iter().map(|p| p.ordinal).collect();
    Expected {
        kind: kind_name(statement.kind).to_owned(),
        verb: statement.verb.to_owned(),
        table: name(&statement.table),
        schema: name(&statement.schema),
        savepoint: name(&statement.savepoint),
        temp: statement.temp,
        returning: statement.returning.is_some(),
        placeholders: statement.placeholders.iter().map(|p| p.index).collect(),
        ordinal: ordinal.contains(&true).then_some(ordinal),
    }
}
