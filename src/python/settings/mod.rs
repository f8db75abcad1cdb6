//! Settings as Python gives them.

pub(super) mod config;
