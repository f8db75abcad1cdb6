//! What a replicator does with a text: which of its statements go to which replicas, and why the others do not.

use super::template::Template;
use crate::sql::meaning::classify::{Classification, Kind, Statement, classify};

/// Which replicas something is for: bit `i` is replica `i`.
pub type ReplicaSet = u64;

/// The most replicas one replicator serves: a set of them is one machine word.
pub const MAX_REPLICAS: usize = 64;

/// Why a statement is not replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// It reads.
    Read,
    /// Its table is in no replica's allow-list.
    Filtered,
    /// It changes the schema, and `ddl` is off.
    Ddl,
    /// It controls a transaction.
    Txn,
    /// PRAGMA, ATTACH, VACUUM and the like: they concern one database file.
    Other,
    /// It cannot be read as SQL well enough to know what it does.
    Unparsed,
    /// It concerns the temporary schema, which a replica does not have.
    Temp,
    /// It concerns an attached database, which a replica does not have.
    Attached,
    /// It names a table of afterquery's own.
    Reserved,
    /// Reading it failed inside afterquery.
    Internal,
    /// The text itself rolls it back.
    RolledBack,
    /// It ran in a transaction that was not committed.
    Dropped,
}

impl Skip {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Filtered,
        Self::Ddl,
        Self::Txn,
        Self::Other,
        Self::Unparsed,
        Self::Temp,
        Self::Attached,
        Self::Reserved,
        Self::Internal,
        Self::RolledBack,
        Self::Dropped,
    ];

    /// Its name in `stats()`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Filtered => "filtered",
            Self::Ddl => "ddl",
            Self::Txn => "txn",
            Self::Other => "other",
            Self::Unparsed => "unparsed",
            Self::Temp => "temp",
            Self::Attached => "attached",
            Self::Reserved => "reserved",
            Self::Internal => "internal",
            Self::RolledBack => "rolled_back",
            Self::Dropped => "dropped",
        }
    }

    /// Whether the log tells of it, once for each text: the user may not know that it is left out.
    pub fn is_told(self) -> bool {
        match self {
            Self::Unparsed | Self::Temp | Self::Attached | Self::Reserved | Self::Internal => true,
            Self::Read | Self::Filtered | Self::Ddl | Self::Txn | Self::Other => false,
            Self::RolledBack | Self::Dropped => false,
        }
    }

    /// What it means, for `explain()`.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Read => "it reads",
            Self::Filtered => "its table is in no allow-list",
            Self::Ddl => "it changes the schema and ddl=False",
            Self::Txn => "it controls a transaction; replicas get committed writes only",
            Self::Other => "it concerns this one database, not its contents",
            Self::Unparsed => "it cannot be read as SQL",
            Self::Temp => "it concerns the temporary schema, which a replica does not have",
            Self::Attached => "it concerns an attached database, which a replica does not have",
            Self::Reserved => {
                "it names something that begins with afterquery_ or tmp_afterquery_; such names are afterquery's own"
            }
            Self::Internal => "reading it failed inside afterquery, which is a bug",
            Self::RolledBack => "a later statement of the same text rolls it back",
            Self::Dropped => "its transaction was not committed",
        }
    }
}

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

/// A statement that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStatement {
    /// Its text.
    pub template: Template,
    /// The replicas it goes to.
    pub targets: ReplicaSet,
    /// Parameters of the statements before it in the text: a sequence is consumed from left to right.
    pub first_parameter: u32,
    /// Whether the driver's row count is the number of rows it changed: not for DDL, and not with RETURNING, where
    /// the count is only final when all rows were read.
    pub counts_rows: bool,
}

/// What is done with one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is sent, in order.
    pub statements: Box<[PlannedStatement]>,
    /// Why the other statements of the text are not.
    pub skipped: Box<[Skip]>,
    /// How many parameters a sequence for the whole text has.
    pub parameters: u32,
    /// Whether something that is sent may do something else on a replica.
    pub suspect: bool,
}

impl Plan {
    /// The plan for `sql` under `rules`.
    pub fn new(sql: &str, rules: &Rules) -> Self {
        let classification = classify(sql);
        let mut script = Script::default();
        let mut skipped = Vec::new();
        let mut parameters = 0;
        let mut suspect = false;
        for statement in &classification.statements {
            match rules.decide(statement) {
                Ok(targets) => {
                    suspect |= !statement.reasons.is_empty();
                    let template = Template::new(sql, statement);
                    let first_parameter = parameters;
                    let counts_rows = statement.kind == Kind::Write && statement.returning.is_none();
                    script.kept.push(PlannedStatement { template, targets, first_parameter, counts_rows });
                }
                Err(skip) => {
                    skipped.push(skip);
                    skipped.extend(script.control(statement));
                }
            }
            parameters += statement.placeholders.iter().map(|p| p.index).max().unwrap_or(0);
        }
        Self { statements: script.kept.into(), skipped: skipped.into(), parameters, suspect }
    }

    /// The plan for a text of which nothing is known, because reading it failed inside afterquery.
    pub fn failed() -> Self {
        Self { skipped: Box::new([Skip::Internal]), ..Self::default() }
    }

    /// What `rules` say of each statement of `sql`, with the classification it rests on.
    pub fn explain<'a>(sql: &'a str, rules: &Rules) -> (Classification<'a>, Vec<Result<ReplicaSet, Skip>>) {
        let classification = classify(sql);
        let decisions = classification.statements.iter().map(|s| rules.decide(s)).collect();
        (classification, decisions)
    }

    /// About how many bytes it holds: what a cache of plans must count.
    pub fn size(&self) -> usize {
        let statement = |s: &PlannedStatement| size_of::<PlannedStatement>() + s.template.text().len();
        self.statements.iter().map(statement).sum::<usize>() + size_of::<Self>()
    }

    /// Whether the driver's row count is that of this text's one statement.
    pub fn counts_rows(&self) -> bool {
        matches!(&*self.statements, [statement] if statement.counts_rows)
    }

    /// All replicas that get any of it.
    pub fn targets(&self) -> ReplicaSet {
        self.statements.iter().fold(0, |set, s| set | s.targets)
    }
}

/// The transaction control inside one text: what the text itself rolls back is not sent.
#[derive(Default)]
struct Script {
    kept: Vec<PlannedStatement>,
    /// Open transactions and savepoints: their name, and what was kept before them.
    marks: Vec<(Option<Box<str>>, usize)>,
}

impl Script {
    /// Follows a statement that is not sent; the skips of those it takes back.
    fn control(&mut self, statement: &Statement) -> Vec<Skip> {
        let named = |mark: &(Option<Box<str>>, usize)| match (&mark.0, &statement.savepoint) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        };
        match (statement.verb, &statement.savepoint) {
            ("BEGIN", _) => self.marks.push((None, self.kept.len())),
            ("SAVEPOINT", name) => self.marks.push((name.as_deref().map(Into::into), self.kept.len())),
            ("RELEASE", _) => {
                let at = self.marks.iter().rposition(named);
                self.marks.truncate(at.unwrap_or(self.marks.len()));
            }
            ("ROLLBACK", Some(_)) => {
                if let Some(at) = self.marks.iter().rposition(named) {
                    self.marks.truncate(at + 1);
                    return self.take_back(self.marks[at].1);
                }
            }
            ("ROLLBACK", None) => {
                let begin = self.marks.first().map_or(self.kept.len(), |mark| mark.1);
                self.marks.clear();
                return self.take_back(begin);
            }
            ("COMMIT" | "END", _) => self.marks.clear(),
            _ => {}
        }
        Vec::new()
    }

    fn take_back(&mut self, keep: usize) -> Vec<Skip> {
        let count = self.kept.len() - keep;
        self.kept.truncate(keep);
        vec![Skip::RolledBack; count]
    }
}
