//! Which of a text's statements go to which replicas, as the settings say.

use super::{replicas::ReplicaSet, skip::Skip};
use crate::sql::meaning::classification::{Kind, Statement};

/// What the plans of one replicator depend on.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// For each replica its allow-list of tables, in lower case; `None` allows every table.
    pub tables: Vec<Option<Vec<Box<str>>>>,
    /// Whether CREATE, ALTER and DROP are replicated.
    pub ddl: bool,
}

impl Rules {
    fn unfiltered(&self) -> ReplicaSet {
        self.matching(Option::is_none)
    }

    /// The replicas whose allow-list has `table`, compared as SQLite compares names: without ASCII case.
    fn allowing(&self, table: &str) -> ReplicaSet {
        let has = |list: &Vec<Box<str>>| list.iter().any(|name| name.eq_ignore_ascii_case(table));
        self.matching(|list| list.as_ref().is_none_or(has))
    }

    fn matching(&self, test: impl Fn(&Option<Vec<Box<str>>>) -> bool) -> ReplicaSet {
        let bit = |(i, list)| if test(list) { 1u64 << i } else { 0 };
        self.tables.iter().enumerate().map(bit).sum()
    }

    /// The replicas that `statement` goes to, or why it goes to none.
    pub fn decide(&self, statement: &Statement) -> Result<ReplicaSet, Skip> {
        match statement.kind {
            Kind::Read => return Err(Skip::Read),
            Kind::Txn => return Err(Skip::Txn),
            Kind::Other => return Err(Skip::Other),
            Kind::Ddl if !self.ddl => return Err(Skip::Ddl),
            Kind::Ddl | Kind::Write => {}
            Kind::Unknown if starts_as_write(statement) => {}
            Kind::Unknown => return Err(Skip::Unparsed),
        }
        match statement.schema.as_deref() {
            _ if statement.temp => return Err(Skip::Temp),
            None => {}
            Some(name) if name.eq_ignore_ascii_case("main") => {}
            Some(name) if name.eq_ignore_ascii_case("temp") => return Err(Skip::Temp),
            Some(_) => return Err(Skip::Attached),
        }
        if statement.reserved {
            return Err(Skip::Reserved);
        }
        match (&statement.table, statement.kind) {
            (Some(table), Kind::Write | Kind::Ddl) => some_or(self.allowing(table), Skip::Filtered),
            (None, Kind::Ddl) => some_or(self.unfiltered(), Skip::Filtered),
            // Without a table to compare, an allow-list cannot say yes.
            _ => some_or(self.unfiltered(), Skip::Unparsed),
        }
    }
}

fn some_or(set: ReplicaSet, skip: Skip) -> Result<ReplicaSet, Skip> {
    if set == 0 { Err(skip) } else { Ok(set) }
}

fn starts_as_write(statement: &Statement) -> bool {
    matches!(statement.verb, "INSERT" | "UPDATE" | "DELETE" | "WITH")
}
