//! What fits into a text, and how a statement is sent that does not: decided here and nowhere else.
//!
//! 1. A text gathers writes up to [`MAX_SQL_BYTES`]: more would make a request slower and hardly cheaper. A write that is
//!    longer goes alone, in one text if the replica takes one so long. StarbaseDB takes no more than that anyway; our peer
//!    says what it takes. Values that were set apart when the write was rendered are then put back.
//! 2. A write that is still too long goes in parts, and `step` says how far it is. A part ends behind a statement, or
//!    behind a row of an INSERT of constants.
//! 3. Of a statement that is too long and no such INSERT, the longest values and lists behind IN are sent ahead.
//! 4. What is left is refused, whole and before any of it is applied, with a reason that names the limit.

use super::{
    limits::Limits,
    progress::{MOST_ROWS, Progress},
    sizes::MARK_BYTES,
};
use crate::{
    sql::{JsonRows, LargeValue, ManyRows, inlined, new_id, references, set_apart, set_apart_all},
    write::{Reason, ReasonCode, SentStatement, Write},
};

/// What a staged value adds to the head and to what removes it: its key twice.
const STAGED_BYTES: usize = 40;

/// What the head says for all values of as many pieces.
const STAGED_ALIKE_BYTES: usize = 110;

/// What was sent ahead of a write, and the statements that then take its place. Its keys must be the same each time it is
/// tried.
#[derive(Debug, Clone)]
pub struct Apart {
    seq: u64,
    progress: Progress,
    room: usize,
    pub(super) pieces: Vec<Piece>,
    /// The values.
    pub large: Vec<LargeValue>,
}

/// A statement that takes the place of one, or of several that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub sql: String,
    /// How many statements it stands for.
    pub statements: u64,
}

impl Apart {
    /// The write it is of.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether the statement that comes after so many stands for several.
    pub fn stands_for_several(&self, seq: u64, statements: u64) -> bool {
        let mut at = 0;
        self.seq == seq
            && self.pieces.iter().any(|piece| {
                let here = at == statements;
                at += piece.statements;
                here && piece.statements > 1
            })
    }

    fn is_of(&self, seq: u64, progress: Progress, room: usize) -> bool {
        (self.seq, self.progress, self.room) == (seq, progress, room)
    }
}

/// The next part of a statement.
#[derive(Debug)]
pub(super) struct Part {
    pub sql: String,
    pub large: Vec<LargeValue>,
    /// How many of its rows are applied with it; `None` when all of it is.
    pub rows: Option<u64>,
}

/// The part of `statement` behind its first `rows` rows. `None` when it has no rows that can be told apart, or fewer.
pub fn rest(statement: &SentStatement, rows: u64) -> Option<SentStatement> {
    let many = ManyRows::find(&statement.sql)?;
    let from = usize::try_from(rows).ok().filter(|&from| from < many.len())?;
    let sql = many.part(from..many.len());
    let large = values_of(statement, &sql);
    let large = (!large.is_empty()).then(|| Box::new(large));
    Some(SentStatement::new(sql.into(), large, statement.targets))
}

/// The values that a part of the statement names.
fn values_of(statement: &SentStatement, sql: &str) -> Vec<LargeValue> {
    let Some(large) = statement.large.as_deref() else { return Vec::new() };
    let named: std::collections::HashSet<u64> = references(sql).map(|reference| reference.id).collect();
    large.iter().filter(|value| named.contains(&value.id)).cloned().collect()
}

/// The statement with its values in it, for a replica that takes long texts.
pub(super) fn put_back(statement: &SentStatement, room: usize) -> Option<String> {
    inlined(&statement.sql, statement.large.as_deref()?, room)
}

/// What so many values add to a text.
pub(super) fn staged(values: usize) -> usize {
    // Values of 25 different lengths in pieces are 15 MB.
    STAGED_BYTES * values + STAGED_ALIKE_BYTES * values.min(25)
}

/// How many bytes a statement takes in a text.
fn size(statement: &SentStatement) -> usize {
    statement.sql.len() + staged(statement.large.as_ref().map_or(0, |large| large.len()))
}

/// The next part of a statement that is too long for a text. `apart` is what was set apart the last time.
pub(super) fn part(
    statement: &SentStatement,
    seq: u64,
    progress: Progress,
    limits: Limits,
    apart: &mut Option<Apart>,
) -> Option<Part> {
    let (room, alone) = limits.rooms();
    let (long, rows) = match ManyRows::find(&statement.sql).filter(|many| (many.len() as u64) < MOST_ROWS) {
        Some(many) => {
            let from = usize::try_from(progress.rows).ok().filter(|&from| from < many.len())?;
            // A text of usual length has no room for the names of more values than this.
            let left = statement
                .large
                .as_ref()
                .map_or(alone, |large| room.saturating_sub(staged(large.len().min(MOST_VALUES))));
            let count = many.fitting(from, left).max(1);
            let end = from + count;
            (many.part(from..end), (end < many.len()).then_some(end as u64))
        }
        None if progress.rows > 0 => return None,
        None => (statement.sql.to_string(), None),
    };
    let mut large = values_of(statement, &long);
    let left = alone.saturating_sub(staged(large.len()));
    if long.len() <= left {
        return Some(Part { sql: long, large, rows });
    }
    if !apart.as_ref().is_some_and(|known| known.is_of(seq, progress, left)) {
        let (sql, large) = set_apart(&long, left, staged(1))?;
        *apart = Some(Apart { seq, progress, room: left, pieces: vec![Piece { sql, statements: 1 }], large });
    }
    let known = apart.as_ref()?;
    large.extend(known.large.iter().cloned());
    Some(Part { sql: known.pieces.first()?.sql.clone(), large, rows })
}

/// A write that is too long for a text as statements that fit into one, with the rest sent ahead: the rows of its INSERTs
/// as JSON, and long values. So it is applied all or nothing, and a foreign key that is deferred may be met by its end.
/// `None` where that is not enough.
pub(super) fn whole<'a>(
    write: &Write,
    replica: u8,
    limits: Limits,
    apart: &'a mut Option<Apart>,
) -> Option<&'a Apart> {
    let (_, room) = limits.rooms();
    let (seq, progress) = (write.seq, Progress::default());
    if !apart.as_ref().is_some_and(|known| known.is_of(seq, progress, room)) {
        if write.bytes() > MAX_AHEAD_BYTES {
            return None;
        }
        let (pieces, large) = shorten(write, replica);
        let size =
            pieces.iter().map(|piece| piece.sql.len() + MARK_BYTES).sum::<usize>() + staged(large.len());
        *apart = (size <= room).then_some(Apart { seq, progress, room, pieces, large });
    }
    apart.as_ref()
}

fn shorten(write: &Write, replica: u8) -> (Vec<Piece>, Vec<LargeValue>) {
    let (mut pieces, mut all) = (Vec::new(), Vec::new());
    let mut gathered: Option<(JsonRows, u64)> = None;
    let end = |gathered: &mut Option<(JsonRows, u64)>, pieces: &mut Vec<Piece>, all: &mut Vec<LargeValue>| {
        if let Some((rows, statements)) = gathered.take() {
            let (sql, value) = rows.finish(new_id());
            pieces.push(Piece { sql, statements });
            all.push(value);
        }
    };
    for statement in write.statements_for(replica) {
        let large = statement.large.as_deref().map_or(&[][..], Vec::as_slice);
        if let Some(many) = ManyRows::find(&statement.sql) {
            if let Some((rows, statements)) = &mut gathered
                && rows.len() < MAX_JSON_BYTES
                && rows.push(&many, large, MAX_VALUE_BYTES)
            {
                *statements += 1;
                continue;
            }
            if let Some(rows) = JsonRows::new(&many, large, MAX_VALUE_BYTES) {
                end(&mut gathered, &mut pieces, &mut all);
                gathered = Some((rows, 1));
                continue;
            }
        }
        end(&mut gathered, &mut pieces, &mut all);
        let (sql, values) =
            set_apart_all(&statement.sql).unwrap_or_else(|| (statement.sql.to_string(), Vec::new()));
        all.extend(large.iter().cloned().chain(values));
        pieces.push(Piece { sql, statements: 1 });
    }
    end(&mut gathered, &mut pieces, &mut all);
    (pieces, all)
}

/// A longer write is not sent ahead but in parts, in bytes: it would be held in memory twice, and be sent again from its
/// beginning by the next process.
const MAX_AHEAD_BYTES: usize = 16 << 20;

/// The longest value: StarbaseDB takes 2 MB.
const MAX_VALUE_BYTES: usize = 1_900_000;

/// When rows are so many bytes, the next INSERT begins a value of its own: a replica's values have 2 MB at the most.
const MAX_JSON_BYTES: usize = 500_000;

/// The most values that one part may name.
const MOST_VALUES: usize = 1_000;

/// Why a write can never be sent in texts with so much `room`, looked at before any of it is sent.
pub(super) fn refusal(write: &Write, replica: u8, limits: Limits) -> Option<Reason> {
    let (_, room) = limits.rooms();
    let fits = |statement: &SentStatement| size(statement) <= room || parts_fit(statement, limits);
    let (at, statement) =
        write.statements_for(replica).enumerate().find(|(_, statement)| !fits(statement))?;
    let message = format!(
        "statement {} of the write has {} bytes, the replica takes {} in one text, and this statement cannot be cut: write \
         fewer rows with each, or pass the values as parameters (docs/reliability.md, \"What is too large\")",
        at + 1,
        statement.sql.len(),
        limits.alone,
    );
    Some(Reason::new(ReasonCode::TooLarge, message))
}

/// Why a write of which a part is applied does not go on.
pub(super) fn cannot_go_on(limits: Limits) -> Reason {
    let message = format!(
        "what is left of the write does not fit: the replica takes {} bytes in one text",
        limits.alone
    );
    Reason::new(ReasonCode::TooLarge, message)
}

/// Whether each part of a statement can be sent.
fn parts_fit(statement: &SentStatement, limits: Limits) -> bool {
    let (_, room) = limits.rooms();
    let apart = |sql: &str| {
        let left = room.saturating_sub(staged(values_of(statement, sql).len()));
        sql.len() <= left || set_apart(sql, left, staged(1)).is_some()
    };
    match ManyRows::find(&statement.sql).filter(|many| (many.len() as u64) < MOST_ROWS) {
        Some(many) => {
            (0..many.len()).all(|at| many.size(at..at + 1) <= room / 2 || apart(&many.part(at..at + 1)))
        }
        None => apart(&statement.sql),
    }
}
