//! The text as SQLite reads it: bytes, tokens, words and names; and a value as a literal in it.

pub(super) mod bytes;
pub(super) mod literal;
pub(super) mod names;
pub(super) mod shown;
pub(super) mod token;
pub(super) mod trim;
pub(super) mod words;
