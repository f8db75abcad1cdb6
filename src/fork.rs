//! Noticing that the process was forked, and keeping a fork from tearing SQLite apart.
//!
//! A runtime used before a fork has no threads in the child: everything handed to it would silently stay
//! there. The C library's own hook is used because Python's only runs for `os.fork()`, not where a server
//! written in C forks; and a counter, because asking for the process number costs more than the rest of a call.
//!
//! The child also inherits every lock as it was at the fork. SQLite has locks of its own for the whole process:
//! a child forked while another thread held one could never open a journal. So [`enter`] marks the use
//! of SQLite, and a fork waits until nobody is inside. Only atomics, because the child has to undo it.

use std::{
    sync::{
        Once,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static FORKING: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// How often a fork looks whether SQLite is at rest.
const LOOK: Duration = Duration::from_micros(20);

/// How often it looks at most, about a second: a disk that hangs must not hang the fork for ever.
const MAX_LOOKS: u32 = 20_000;

extern "C" fn before() {
    FORKING.store(true, Ordering::SeqCst);
    for _ in 0..MAX_LOOKS {
        if INSIDE.load(Ordering::SeqCst) == 0 {
            break;
        }
        std::thread::sleep(LOOK);
    }
}

extern "C" fn after_in_parent() {
    FORKING.store(false, Ordering::SeqCst);
}

extern "C" fn after_in_child() {
    // Between fork and exec only async-signal-safe work is allowed: atomics are.
    GENERATION.fetch_add(1, Ordering::Relaxed);
    INSIDE.store(0, Ordering::SeqCst);
    FORKING.store(false, Ordering::SeqCst);
}

/// Starts watching for forks.
pub fn watch() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the three are `extern "C"` functions that never unwind and live for the whole program.
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    });
}

/// How many forks lie between the first process and this one.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// While it lives, no fork happens.
#[derive(Debug)]
pub struct Inside {
    generation: u32,
}

/// Waits for a fork that is under way, and holds up the next.
pub fn enter() -> Inside {
    loop {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if !FORKING.load(Ordering::SeqCst) {
            return Inside { generation: generation() };
        }
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        std::thread::sleep(LOOK);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // A guard that a fork copied does not count in the child.
        if self.generation == generation() {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
