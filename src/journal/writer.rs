//! The thread that puts writes into the file, so that no caller has to.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How soon the thread looks again while something could not be done.
const RETRY: Duration = Duration::from_secs(1);

/// A running thread.
#[derive(Debug)]
pub struct Writer {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Asking a flag first spares the caller a wake-up while the thread is at work anyway.
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Writer {
    /// Starts it. Each time it wakes it calls `work`, which says whether it has to be called again soon though nobody
    /// asks for it.
    pub fn start(work: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let thread = thread::Builder::new().name("afterquery-journal".into()).spawn(move || {
            while !seen.ended.load(Ordering::Acquire) {
                let again = work();
                if seen.asleep.swap(true, Ordering::SeqCst) {
                    // Nobody asked since: sleep. Who asks takes the flag down and unparks.
                    if again { thread::park_timeout(RETRY) } else { thread::park() }
                }
            }
        })?;
        Ok(Self { state, thread })
    }

    /// Asks for work to be done.
    pub fn wake(&self) {
        if self.state.asleep.swap(false, Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
    }

    /// Ends the thread, after what it is at.
    pub fn end(self) {
        self.state.ended.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let _ = self.thread.join();
    }
}
