//! What every floor stands on, and what knows none of them: how a foreign text is shown, what an error and a log line are,
//! where panics end, and what a fork does.

pub mod error;
pub mod event;
pub mod fork;
pub mod panics;
pub mod quoted;
