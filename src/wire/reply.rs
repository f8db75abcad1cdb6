//! What a replica's answer holds.

use serde::Deserialize;

use super::watermark::Standing;

/// The body of an answer: `{"result": [...]}` or `{"error": "..."}`.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The rows of the last statement.
    pub result: Option<Vec<Row>>,
    /// What went wrong.
    pub error: Option<String>,
}

/// A watermark row as it is returned. Every field may be missing: other texts return other rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Row {
    /// The row's key; a batch does not return it.
    #[serde(default)]
    pub id: u64,
    /// The last write applied whole.
    #[serde(default)]
    pub seq: u64,
    /// Statements applied of the write after it.
    #[serde(default)]
    pub step: u64,
    /// The text that moved the row last.
    #[serde(default)]
    pub chain: u64,
    /// What `changes()` said after each statement of that text: `,` within a write, `;` at its end.
    #[serde(default)]
    pub changes: String,
}

impl Row {
    /// Whether no text has moved it yet.
    pub fn is_new(&self) -> bool {
        (self.seq, self.step, self.chain) == (0, 0, 0)
    }

    /// The standing it tells of, for the row with key `id`.
    pub fn standing(&self, id: u64) -> Standing {
        Standing { id, seq: self.seq, step: self.step, chain: self.chain }
    }
}

/// The rows changed by each whole write of a batch, in order. `None` where the text is not ours.
pub fn applied_changes(changes: &str) -> impl Iterator<Item = Option<i64>> {
    let whole = changes.rsplit_once(';').map_or("", |(whole, _)| whole);
    let count = whole.split(';').take(if whole.is_empty() { 0 } else { usize::MAX });
    count.map(|write| write.split(',').map(|n| n.parse::<i64>().ok()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_summed_by_write_and_an_unfinished_write_is_left_out() {
        let sums = |text| applied_changes(text).collect::<Vec<_>>();
        assert_eq!(sums(""), []);
        assert_eq!(sums("1;"), [Some(1)]);
        assert_eq!(sums("1;0;2,3;"), [Some(1), Some(0), Some(5)]);
        assert_eq!(sums("1;2,"), [Some(1)]);
        assert_eq!(sums("2,"), []);
        assert_eq!(sums("x;1;"), [None, Some(1)]);
    }
}
