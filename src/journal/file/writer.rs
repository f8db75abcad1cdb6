//! The thread that puts writes into the file, so that no caller has to.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crate::ground::fork::OwnThread;

/// How long a task that has just delivered waits before it looks for more by itself. Waking it costs the caller several
/// microseconds, more than everything else a write costs; under a steady load it need not be woken at all.
pub const LINGER: Duration = Duration::from_millis(1);

/// How often it looks and finds nothing before it goes to sleep and has to be woken.
pub const LINGER_LOOKS: u32 = 4;

/// How soon the thread looks again while something could not be done.
const RETRY: Duration = Duration::from_secs(1);

/// What a look for work came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// There was some.
    Done,
    /// There was none.
    None,
    /// There is some that others do.
    Others,
    /// Something could not be done and has to be tried again.
    Failed,
}

/// A running thread.
#[derive(Debug)]
pub struct Writer {
    bell: Bell,
    thread: OwnThread,
}

/// What wakes it.
#[derive(Debug, Clone)]
pub struct Bell {
    state: Arc<State>,
    thread: Thread,
}

/// What the thread and those who wake it share.
#[derive(Debug, Default)]
pub struct State {
    /// Asking a flag first spares the caller a wake-up while the thread is at work anyway.
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Writer {
    /// Starts it. Each time it is woken it calls `work`, and then lingers: it looks for more by itself for a while,
    /// because waking it costs the caller more than everything else. Where nobody asks it sleeps for `rest`.
    pub fn start(rest: Duration, work: impl Fn() -> Work + Send + 'static) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let thread = OwnThread::start("afterquery-journal", move || {
            let mut idle = LINGER_LOOKS;
            while !seen.ended.load(Ordering::Acquire) {
                let found = work();
                idle = match found {
                    Work::Done => 0,
                    Work::Others => idle.min(LINGER_LOOKS - 1),
                    Work::None | Work::Failed => idle + 1,
                };
                if found == Work::Failed {
                    thread::park_timeout(RETRY);
                } else if idle < LINGER_LOOKS {
                    thread::park_timeout(LINGER);
                } else if seen.asleep.swap(true, Ordering::SeqCst) {
                    // Nobody asked since the look: who asks takes the flag down and unparks. Now and then it looks by itself:
                    // a process may have died.
                    thread::park_timeout(rest);
                }
            }
        })?;
        Ok(Self { bell: Bell { state, thread: thread.thread().clone() }, thread })
    }

    /// What wakes it.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Ends the thread, after what it is at.
    pub fn end(self) {
        self.bell.state.ended.store(true, Ordering::Release);
        self.bell.nudge();
        self.thread.join();
    }
}

impl Bell {
    /// Asks for work to be done soon.
    pub fn wake(&self) {
        if self.state.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// Asks for work to be done at once.
    pub fn nudge(&self) {
        self.state.asleep.store(false, Ordering::SeqCst);
        self.thread.unpark();
    }
}
