//! The allocator of the core; Python keeps its own.
//!
//! Writes are allocated on the caller's thread and freed on those that deliver, millions of them when a replica comes back.
//! glibc gives such memory back late or never, and its threads meet at the same locks.

use std::ffi::c_char;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads when it starts, see "TUNING" in its manual page.
#[expect(dead_code, reason = "it is read by jemalloc, which finds it by its name")]
struct Settings(*const c_char);

// SAFETY: it points to bytes that never change.
unsafe impl Sync for Settings {}

/// Unused pages go back to the system within 0.2 s, so that memory is flat after a backlog; the default is 10 s, but only
/// while there is more to do. At once would cost half of the throughput.
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: Settings = Settings(c"dirty_decay_ms:200,muzzy_decay_ms:0".as_ptr());
