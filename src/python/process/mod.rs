//! Where the interpreter and the core meet: errors, the border that no panic crosses, threads, and what runs in this process.

pub(super) mod beside;
pub(super) mod border;
pub(super) mod bridge;
pub(super) mod errors;
pub(super) mod known;
pub(super) mod live;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod memory;
