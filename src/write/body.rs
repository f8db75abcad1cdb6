//! What a write does: the statements that are sent.

use super::reason::Reason;
use crate::sql::{LargeValue, ReplicaSet, inlined, row_start};

/// A statement as it is sent, with the replicas it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct SentStatement {
    /// Its text with literals in it, without `;`.
    pub sql: Box<str>,
    /// Values too large for the text, sent ahead. Boxed twice because nearly no statement has any.
    pub large: Option<Box<Vec<LargeValue>>>,
    /// The replicas it goes to.
    pub targets: ReplicaSet,
    /// Where its row begins, if it is an INSERT of one row of constants: such ones can be sent as one. Not a `NonZero`: the
    /// unused values of an `Option<u16>` spare [`Body`] a tag of its own, 8 bytes a write.
    pub row: Option<u16>,
}

impl SentStatement {
    /// One whose row, if it has one, is still to be found.
    pub fn new(sql: Box<str>, large: Option<Box<Vec<LargeValue>>>, targets: ReplicaSet) -> Self {
        let row = if large.is_none() { row_start(&sql) } else { None };
        Self { sql, large, targets, row }
    }

    /// Its text with the values in it that are sent ahead: as somebody reads it.
    pub fn whole(&self) -> String {
        let large = self.large.as_deref().map_or(&[][..], Vec::as_slice);
        inlined(&self.sql, large, usize::MAX).unwrap_or_else(|| self.sql.to_string())
    }

    /// What comes before its row, and the row.
    pub fn split_row(&self) -> Option<(&str, &str)> {
        self.sql.split_at_checked(usize::from(self.row?))
    }
}

/// What a write does.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// One statement.
    One(SentStatement),
    /// Several, applied together.
    Many(Box<[SentStatement]>),
    /// It cannot be sent; each replica rejects it when its turn comes, so that order and policy hold for it too.
    Unsendable(Box<Unsendable>),
}

/// What cannot be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsendable {
    /// Why.
    pub reason: Reason,
    /// The replicas that reject it.
    pub targets: ReplicaSet,
}

impl Body {
    /// The statements, in order.
    pub fn statements(&self) -> &[SentStatement] {
        match self {
            Self::One(statement) => std::slice::from_ref(statement),
            Self::Many(statements) => statements,
            Self::Unsendable(_) => &[],
        }
    }

    /// One that cannot be sent to `targets`.
    pub fn unsendable(reason: Reason, targets: ReplicaSet) -> Self {
        Self::Unsendable(Box::new(Unsendable { reason, targets }))
    }

    /// The replicas it is for.
    pub fn targets(&self) -> ReplicaSet {
        match self {
            Self::Unsendable(unsendable) => unsendable.targets,
            _ => self.statements().iter().fold(0, |targets, statement| targets | statement.targets),
        }
    }

    /// Sends all of it to `targets`.
    pub fn retarget(&mut self, targets: ReplicaSet) {
        let statements = match self {
            Self::One(statement) => std::slice::from_mut(statement),
            Self::Many(statements) => statements,
            Self::Unsendable(unsendable) => {
                unsendable.targets = targets;
                return;
            }
        };
        statements.iter_mut().for_each(|statement| statement.targets = targets);
    }

    /// About how many bytes of memory it takes.
    pub fn size(&self) -> usize {
        let large =
            |s: &SentStatement| s.large.iter().flat_map(|l| l.iter()).map(|v| v.content.len()).sum::<usize>();
        self.statements().iter().map(|s| s.sql.len() + large(s)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_shown_with_the_values_that_are_sent_ahead() {
        use crate::sql::LargeContent::{Blob, Text};
        let large = |id, content| LargeValue { id, content };
        let values = vec![large(7, Text("it's 8".into())), large(8, Blob([1, 255].into()))];
        let sql = format!("INSERT INTO t VALUES ({}, {})", values[0].reference(), values[1].reference());
        let statement = SentStatement::new(sql.into(), Some(Box::new(values)), 1);
        assert_eq!(statement.whole(), "INSERT INTO t VALUES ('it''s 8', x'01ff')");
    }

    #[test]
    fn a_pending_write_is_small() {
        // With its two counters and malloc's header it takes 112 bytes; one field more, and it takes 128.
        assert_eq!(size_of::<crate::write::Write>(), 88);
    }
}
