//! What a text does: its statements, and for each its kind, its table, its placeholders, and what in it may differ.

pub(super) mod body;
pub(super) mod classification;
pub(super) mod classify;
pub(super) mod note;
pub(super) mod placeholders;
pub(super) mod reserved;
pub(super) mod scan;
pub(super) mod statement;
