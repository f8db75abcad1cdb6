//! What may mean something else on a replica: the clock, chance, and what the connection did before.

pub(super) mod clock_call;
pub(super) mod clock_names;
pub(super) mod functions;
pub(super) mod verdict;
