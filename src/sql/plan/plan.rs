//! What a replicator does with a text: which of its statements go to which replicas, and why the others do not.

use super::{replicas::ReplicaSet, rules::Rules, skip::Skip, template::Template};
use crate::sql::meaning::{
    classification::{Classification, Kind, Statement},
    classify::classify,
};

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
