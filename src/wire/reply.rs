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
        self.standing(self.id).is_new()
    }

    /// The standing it tells of, for the row with key `id`.
    pub fn standing(&self, id: u64) -> Standing {
        Standing { id, seq: self.seq, step: self.step, chain: self.chain }
    }
}

/// How many rows whole writes of a batch have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// How many writes, one after another: more than one where each inserts a row and they were sent as one statement.
    pub writes: usize,
    /// The rows all of them changed. `None` where the text is not ours.
    pub rows: Option<i64>,
}

impl Changed {
    /// What `changes` says, in order.
    pub fn read(changes: &str) -> impl Iterator<Item = Self> {
        changes.split_inclusive(';').filter_map(|mark| Some(Self::of(mark.strip_suffix(';')?)))
    }

    fn of(mark: &str) -> Self {
        let (rows, writes) = mark.split_once('/').unwrap_or((mark, "1"));
        let rows: Option<i64> = rows.split(',').map(|n| n.parse::<i64>().ok()).sum();
        let writes = writes.parse::<usize>().ok().filter(|&writes| writes > 0);
        Self { writes: writes.unwrap_or(1), rows: rows.filter(|_| writes.is_some()) }
    }

    /// The rows each of the writes changed. `None` where that is not known.
    pub fn each(self) -> Option<i64> {
        match self {
            Self { writes: 1, rows } => rows,
            // Each has inserted one row at the most: as many rows as writes are one for each.
            Self { writes, rows } => rows.filter(|&rows| rows == writes as i64).map(|_| 1),
        }
    }

    /// How many of the writes have changed nothing, though which is not known.
    pub fn missing(self) -> usize {
        match (self.each(), self.rows) {
            (None, Some(rows)) => self.writes.saturating_sub(usize::try_from(rows).unwrap_or(0)),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_summed_by_write_and_an_unfinished_write_is_left_out() {
        let sums = |text| Changed::read(text).map(Changed::each).collect::<Vec<_>>();
        assert_eq!(sums(""), []);
        assert_eq!(sums("1;"), [Some(1)]);
        assert_eq!(sums("1;0;2,3;"), [Some(1), Some(0), Some(5)]);
        assert_eq!(sums("1;2,"), [Some(1)]);
        assert_eq!(sums("2,"), []);
        assert_eq!(sums("x;1;"), [None, Some(1)]);
    }

    #[test]
    fn of_joined_rows_it_is_known_when_all_are_there_and_how_many_are_not() {
        let of = |text| Changed::read(text).map(|c| (c.writes, c.each(), c.missing())).collect::<Vec<_>>();
        assert_eq!(of("1;3/3;0;"), [(1, Some(1), 0), (3, Some(1), 0), (1, Some(0), 0)]);
        assert_eq!(of("2/3;"), [(3, None, 1)]);
        assert_eq!(of("x/3;2/x;2/0;"), [(3, None, 0), (1, None, 0), (1, None, 0)]);
    }
}
