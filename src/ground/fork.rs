//! Noticing that the process was forked, and keeping a fork from tearing SQLite apart.
//!
//! A runtime used before a fork has no threads in the child: everything handed to it would silently stay
//! there. Asking for the process number would cost more than the rest of a call. So a number lies in a page of memory
//! that the kernel gives to a child empty (`MADV_WIPEONFORK`), whatever forked and whether or not it runs hooks; where
//! the system has no such pages, the C library's fork hook empties it.
//!
//! The child also inherits every lock as it was at the fork. SQLite has locks of its own for the whole process:
//! a child forked while another thread held one could never open a journal. So [`enter`] marks the use
//! of SQLite, and a fork waits until nobody is inside. Only atomics, because the child has to undo it.

#![allow(
    clippy::disallowed_types,
    reason = "the one place that knows where a thread's handle may be touched"
)]

use std::{
    cell::Cell,
    io,
    marker::PhantomData,
    sync::{
        Once, OnceLock,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle, Thread},
    time::Duration,
};

/// The last number given to a process in this line of descent.
static LAST: AtomicU32 = AtomicU32::new(0);
static FORKING: AtomicUsize = AtomicUsize::new(0);
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// How often a fork looks whether SQLite is at rest.
const LOOK: Duration = Duration::from_micros(20);

/// How often it looks at most, about a second: a disk that hangs must not hang the fork for ever.
const MAX_LOOKS: u32 = 20_000;

extern "C" fn before() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    for _ in 0..MAX_LOOKS {
        if INSIDE.load(Ordering::SeqCst) == 0 {
            break;
        }
        std::thread::sleep(LOOK);
    }
}

extern "C" fn after_in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn after_in_child() {
    // Between fork and exec only async-signal-safe work is allowed: atomics are.
    cell().store(0, Ordering::SeqCst);
    INSIDE.store(0, Ordering::SeqCst);
    FORKING.store(0, Ordering::SeqCst);
}

/// Where this process's number is; 0 in a child that has none yet.
fn cell() -> &'static AtomicU32 {
    static CELL: OnceLock<&'static AtomicU32> = OnceLock::new();
    CELL.get_or_init(|| wiped_page().unwrap_or_else(|| Box::leak(Box::default())))
}

#[cfg(target_os = "linux")]
fn wiped_page() -> Option<&'static AtomicU32> {
    const SIZE: usize = 4_096;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address the system chooses.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the page is ours; the call changes only what a child sees of it.
    let wiped = unsafe { libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) } == 0;
    // SAFETY: the page is never unmapped, is aligned, and holds zeros, which is a valid atomic.
    wiped.then(|| unsafe { &*page.cast::<AtomicU32>() })
}

#[cfg(not(target_os = "linux"))]
fn wiped_page() -> Option<&'static AtomicU32> {
    None
}

/// Starts watching for forks.
pub fn watch() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        generation();
        // SAFETY: the three are `extern "C"` functions that never unwind and live for the whole program.
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    });
}

/// A number that a process does not share with its parent or its children.
pub fn generation() -> u32 {
    match cell().load(Ordering::Relaxed) {
        0 => new_generation(),
        generation => generation,
    }
}

#[cold]
fn new_generation() -> u32 {
    let new = LAST.fetch_add(1, Ordering::SeqCst) + 1;
    match cell().compare_exchange(0, new, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {
            if new > 1 {
                // Without hooks nobody has done it: the threads that were inside are the parent's.
                INSIDE.store(0, Ordering::SeqCst);
                FORKING.store(0, Ordering::SeqCst);
            }
            new
        }
        Err(generation) => generation,
    }
}

thread_local! {
    /// How many guards this thread holds.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// While it lives, no fork happens. It stays on its thread.
#[derive(Debug)]
pub struct Inside {
    generation: u32,
    not_send: PhantomData<*const ()>,
}

/// Waits for a fork that is under way, and holds up the next. May be nested.
pub fn enter() -> Inside {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    loop {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        // Who is inside already is being waited for.
        if depth > 0 || FORKING.load(Ordering::SeqCst) == 0 {
            return Inside { generation: generation(), not_send: PhantomData };
        }
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        std::thread::sleep(LOOK);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
        // A guard that a fork copied does not count in the child.
        if self.generation == generation() {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A thread, for the process that started it. A child forked from that process has no such thread, and the C library
/// gives its memory to others or back to the system: to wait for it there, or just to let go of its handle
/// (`pthread_detach`), is a segmentation fault.
#[derive(Debug)]
pub struct OwnThread {
    generation: u32,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

impl OwnThread {
    /// Starts one.
    pub fn start(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let handle = Builder::new().name(name.into()).spawn(body)?;
        Ok(Self { generation: generation(), thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// What wakes it.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Whether there is nothing to wait for.
    pub fn is_finished(&self) -> bool {
        !self.is_here() || self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it has ended.
    pub fn join(mut self) {
        if self.is_here()
            && let Some(handle) = self.handle.take()
        {
            // What it panicked with was counted where it panicked.
            let _ = handle.join();
        }
    }

    fn is_here(&self) -> bool {
        self.generation == generation()
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        if !self.is_here() {
            std::mem::forget(self.handle.take());
        }
    }
}
