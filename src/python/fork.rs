//! Noticing that the process was forked.
//!
//! A runtime used before a fork has no threads in the child: everything handed to it would silently stay
//! there. The C library's own hook is used because Python's only runs for `os.fork()`, not where a server
//! written in C forks; and a counter, because asking for the process number costs more than the rest of a call.

use std::sync::{
    Once,
    atomic::{AtomicU32, Ordering},
};

static GENERATION: AtomicU32 = AtomicU32::new(0);

extern "C" fn forked() {
    // Between fork and exec only async-signal-safe work is allowed: an atomic add is.
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Starts counting forks.
pub fn watch() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: `forked` is an `extern "C"` function that never unwinds and lives for the whole program.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
}

/// How many forks lie between the first process and this one.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}
