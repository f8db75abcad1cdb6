//! Rows as texts: INSERTs whose rows are constants, and rows that stand for the statement that changed them.

pub(super) mod json_rows;
pub(super) mod many_rows;
pub(super) mod one_row;
pub(super) mod statement;
