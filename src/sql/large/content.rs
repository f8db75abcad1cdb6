//! A value too large for a literal: what it holds, and what stands for it in its statement.

use crate::sql::text::literal::Value;

/// The table on the replica that holds large values until their statement has run.
pub const VALUE_TABLE: &str = "tmp_afterquery_value";

/// What a reference begins with.
const REFERENCE: &str = "(SELECT v FROM tmp_afterquery_value WHERE id=";

/// A value too large for a literal. It is sent ahead of its statement, which then names it.
#[derive(Debug, Clone, PartialEq)]
pub struct LargeValue {
    /// Its row's key on the replica.
    pub id: u64,
    /// The value.
    pub content: LargeContent,
}

impl LargeValue {
    /// What stands for it in its statement.
    pub fn reference(&self) -> String {
        let mut sql = String::new();
        push_reference(&mut sql, self.id);
        sql
    }
}

/// What a [`LargeValue`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LargeContent {
    /// Text.
    Text(Box<str>),
    /// Bytes.
    Blob(Box<[u8]>),
}

impl LargeContent {
    /// As a value.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Appends the expression that stands for the value with this key.
pub fn push_reference(sql: &mut String, id: u64) {
    sql.push_str(REFERENCE);
    sql.push_str(itoa::Buffer::new().format(id));
    sql.push(')');
}

/// What stands for a value that is sent ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The value's key.
    pub id: u64,
    /// Where it begins and ends in the text.
    pub start: usize,
    /// Behind its `)`.
    pub end: usize,
}

/// The reference that begins here, if one does.
pub fn reference_at(sql: &str, start: usize) -> Option<Reference> {
    let rest = sql.get(start..)?.strip_prefix(REFERENCE)?;
    let (id, _) = rest.split_once(')')?;
    let end = start + REFERENCE.len() + id.len() + 1;
    Some(Reference { id: id.parse().ok()?, start, end })
}

/// The references in a text, in order.
pub fn references(sql: &str) -> impl Iterator<Item = Reference> {
    sql.match_indices(REFERENCE).filter_map(|(start, _)| reference_at(sql, start))
}

/// A key for a staged value, below 2^53 because some replicas read it as a float. From the system and not from a generator
/// of our own: forked workers would draw the same, and one would find the other's value under its key.
pub fn new_id() -> u64 {
    (getrandom::u64().unwrap_or_else(|_| fastrand::u64(..)) >> 11).max(1)
}
