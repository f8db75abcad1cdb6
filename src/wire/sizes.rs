//! How long a text may be.

/// The most bytes of SQL that StarbaseDB takes in one request.
pub const MAX_SQL_BYTES: usize = 100_000;

/// The longest text that is sent to a replica that takes longer ones than StarbaseDB, in bytes, whatever it says it takes: a
/// text is held in memory three times on its way.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// What the head and the last statement need: their text is about 500 bytes, 200 more with joined rows.
pub(super) const FRAME_BYTES: usize = 1_000;

/// What the mark after the last statement needs at most.
pub(super) const MARK_BYTES: usize = 140;
