//! Who commits, and when: threads that wait for the file share their commits.
//!
//! Whoever completes a group commits for it, on its own thread: nobody has to be woken for that. The others sleep until
//! it is done, and then wake each other one by one: woken all at once, they would wait for the GIL and be woken twice.

mod rides;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::ride::Ride;

/// How long a group waits for the next of the threads that the last commit let go: they come at once, and a commit that
/// syncs costs more than the wait.
const GATHER: Duration = Duration::from_micros(200);

/// How long it waits for all of them.
const GATHER_ALL: Duration = Duration::from_millis(1);

/// How soon after a commit the next write comes while the load is steady.
const STEADY: Duration = Duration::from_micros(150);

/// How many threads are woken by the one that committed. Each of them wakes another.
const WOKEN: usize = 2;

/// The threads that wait for one file.
#[derive(Debug, Default)]
pub struct Group {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a thread commits.
    leading: bool,
    /// The thread that commits if the others do not come.
    gathering: Option<Thread>,
    waiting: Vec<Waiting>,
    /// Those whose writes are in the file, and who sleep still.
    served: VecDeque<Thread>,
    rides: Vec<Arc<Ride>>,
    /// The last write that somebody waits for.
    awaited: u64,
    /// How many threads will come, as far as the last commit tells.
    expected: usize,
    /// When the last commit of writes ended.
    ended: Option<Instant>,
    /// Whether writes come right after each other's commits.
    steady: bool,
}

#[derive(Debug)]
struct Waiting {
    seq: u64,
    thread: Thread,
}

/// How a thread waits for a commit of its write.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// The number of the write.
    pub seq: u64,
    /// Whether the commit waits for all threads that are expected.
    pub gather: bool,
}

impl Group {
    /// Sleeps until a commit of others is over, or makes this thread the one that commits: `true`, and it has to call
    /// [`Self::end`]. `false` may come at any time.
    pub fn join(&self, wait: &mut Wait, is_done: impl Fn() -> bool) -> bool {
        let mut state = self.state();
        if is_done() {
            return false;
        }
        state.arrive();
        if !state.leading && (!wait.gather || state.waiting.len() + 1 >= state.expected) {
            state.leading = true;
            state.gathering = None;
            return true;
        }
        let gathers = state.wait(wait.seq);
        drop(state);
        if gathers {
            // Where the others did not come it goes without them.
            wait.gather = self.gather();
        } else {
            thread::park();
        }
        self.state().leave();
        false
    }

    /// Sleeps for as long as others come. Whether it was woken.
    fn gather(&self) -> bool {
        let (begin, mut seen) = (Instant::now(), 0);
        while begin.elapsed() < GATHER_ALL {
            let round = Instant::now();
            thread::park_timeout(GATHER);
            if round.elapsed() < GATHER {
                return true;
            }
            let state = self.state();
            if state.leading || state.waiting.len() == seen {
                return state.leading;
            }
            seen = state.waiting.len();
        }
        false
    }

    /// After a commit, for as long as this thread led: wakes those whose writes are in the file up to number `saved`. `wrote`
    /// where one of these writes is this thread's.
    pub fn end(&self, saved: u64, wrote: bool) {
        self.state().end(saved, wrote);
    }

    /// Whether some thread commits, or will soon.
    pub fn is_attended(&self) -> bool {
        let state = self.state();
        state.leading || !state.waiting.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn arrive(&mut self) {
        self.steady = self.leading || !self.waiting.is_empty() || self.is_recent();
    }

    fn is_recent(&self) -> bool {
        self.ended.is_some_and(|ended| ended.elapsed() < STEADY)
    }

    fn is_steady(&self) -> bool {
        self.steady && (self.leading || !self.waiting.is_empty() || self.is_recent())
    }

    /// Whether this thread is the one that commits if the others do not come.
    fn wait(&mut self, seq: u64) -> bool {
        let thread = thread::current();
        let gathers = !self.leading && self.gathering.is_none();
        if gathers {
            self.gathering = Some(thread.clone());
        }
        self.waiting.push(Waiting { seq, thread });
        gathers
    }

    /// This thread sleeps no more.
    fn leave(&mut self) {
        let me = thread::current().id();
        self.waiting.retain(|waiting| waiting.thread.id() != me);
        self.served.retain(|thread| thread.id() != me);
        if self.gathering.as_ref().is_some_and(|thread| thread.id() == me) {
            self.gathering = None;
        }
        self.wake(1);
        self.look();
    }

    /// Has one of those that wait see whether there are others to wait for, if nobody does.
    fn look(&self) {
        if let (false, None, Some(waiting)) = (self.leading, &self.gathering, self.waiting.first()) {
            waiting.thread.unpark();
        }
    }

    fn wake(&mut self, count: usize) {
        let count = count.min(self.served.len());
        self.served.drain(..count).for_each(|thread| thread.unpark());
    }

    fn end(&mut self, saved: u64, wrote: bool) {
        self.leading = false;
        let count = self.waiting.len() + usize::from(wrote);
        if count > 0 {
            self.expected = count;
            self.ended = Some(Instant::now());
        }
        let served = self.waiting.extract_if(.., |waiting| waiting.seq <= saved);
        self.served.extend(served.map(|waiting| waiting.thread));
        self.wake(WOKEN);
        self.look();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::journal::memory::cursor::Cursor;

    /// A file that takes `SYNC` to save everything.
    #[derive(Default)]
    struct Slow {
        group: Group,
        last: AtomicU64,
        saved: AtomicU64,
        commits: AtomicU64,
    }

    const SYNC: Duration = Duration::from_millis(2);

    impl Slow {
        fn commit(&self) {
            let rides = self.group.take_rides();
            let last = self.last.load(Ordering::SeqCst);
            thread::sleep(SYNC);
            self.commits.fetch_add(1, Ordering::SeqCst);
            self.saved.store(last, Ordering::SeqCst);
            rides.iter().for_each(|ride| ride.end(true));
        }

        fn is_done(&self, seq: u64) -> bool {
            self.saved.load(Ordering::SeqCst) >= seq
        }

        fn write(&self) {
            let seq = self.last.fetch_add(1, Ordering::SeqCst) + 1;
            let mut wait = Wait { seq, gather: true };
            while !self.is_done(seq) {
                if self.group.join(&mut wait, || self.is_done(seq)) {
                    self.commit();
                    self.group.end(self.saved.load(Ordering::SeqCst), true);
                }
            }
        }

        fn save(&self, cursor: &Cursor) {
            let ride = self.group.add_ride(0, cursor, false);
            while ride.is_open() {
                if self.group.join_ride(&ride) {
                    self.commit();
                    self.group.end(self.saved.load(Ordering::SeqCst), false);
                }
            }
            assert!(ride.is_saved());
        }
    }

    #[test]
    fn threads_share_commits_and_none_is_forgotten() {
        const THREADS: u64 = 8;
        const WRITES: u64 = 50;
        let file = Slow::default();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..WRITES).for_each(|_| file.write()));
            }
            scope.spawn(|| (0..WRITES).for_each(|_| file.save(&Cursor::default())));
        });
        assert!(file.is_done(THREADS * WRITES));
        assert!(!file.group.is_attended());
        let commits = file.commits.load(Ordering::SeqCst);
        assert!(commits < 3 * WRITES, "{commits} commits of {} writes", THREADS * WRITES);
    }

    #[test]
    fn a_thread_that_does_not_come_back_is_not_waited_for_long() {
        let file = Slow::default();
        thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| file.write())));
        });
        let begin = Instant::now();
        file.write();
        file.write();
        assert!(begin.elapsed() < 2 * SYNC + GATHER_ALL + Duration::from_secs(1));
        assert_eq!(file.group.state().expected, 1);
    }

    #[test]
    fn a_position_is_saved_at_once_where_nobody_writes() {
        let file = Slow::default();
        file.save(&Cursor::default());
        assert_eq!(file.commits.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn only_who_is_past_all_that_is_awaited_is_held_back() {
        let group = Group::default();
        let add = |position| {
            let ripe = Instant::now() + Duration::from_secs(3_600);
            let ride = Arc::new(Ride::new(0, &Cursor { position, ..Cursor::default() }, ripe));
            group.state().rides.push(Arc::clone(&ride));
            ride
        };
        let (behind, past) = (add(6), add(7));
        // As while writes come right after each other.
        group.state().steady = true;
        group.state().ended = Some(Instant::now() + Duration::from_secs(3_600));
        assert!(group.take_rides().is_empty());
        assert!(!group.join_ride(&behind));
        group.hurry(7);
        assert!(!group.join_ride(&past));
        assert!(group.join_ride(&behind));
        let taken = |rides: Vec<Arc<Ride>>| rides.iter().map(|ride| ride.cursor.position).collect::<Vec<_>>();
        group.state().steady = true;
        assert_eq!(taken(group.take_rides()), [6]);
        add(3);
        assert_eq!(taken(group.take_rides()), [3], "it came after somebody waited");
    }
}
