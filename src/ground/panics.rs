//! The border that no panic crosses. A panic is a bug of ours: it must neither reach the user's statement nor end what
//! delivers. Every entry from Python and every thread of ours runs its work in [`caught`]; a test looks that none is left out.
//!
//! What a panic says may hold a text of the user's with its values, so only its place in our source is told.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    pin::pin,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

/// What was caught so far, in this process.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Names places that are to panic, for the tests: `render`, or `delivery=3` for the first three times.
const TEST_VARIABLE: &str = "AFTERQUERY_TEST_PANIC";

static IS_TESTED: AtomicBool = AtomicBool::new(false);
static TESTED: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());

thread_local! {
    /// How many calls of [`caught`] this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic of this thread was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic that was caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    what: &'static str,
    place: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, place } = self;
        write!(
            f,
            "afterquery {} failed in {what} at {place}: a bug, please report it",
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// Does `work`, which is called `what`. A panic in it is counted and given back.
pub fn caught<T>(what: &'static str, work: impl FnOnce() -> T) -> Result<T, Panic> {
    DEPTH.set(DEPTH.get() + 1);
    // Whoever goes on after a panic takes nothing for granted: the delivery begins where the journal says.
    let done = catch_unwind(AssertUnwindSafe(|| {
        point(what);
        work()
    }));
    DEPTH.set(DEPTH.get() - 1);
    done.map_err(|payload| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // Dropping what somebody panicked with could panic again.
        std::mem::forget(payload);
        Panic { what, place: PLACE.take() }
    })
}

/// The same for a future, which is dropped when it panics.
pub async fn caught_in<T>(what: &'static str, work: impl Future<Output = T>) -> Result<T, Panic> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match caught(what, || work.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// How many panics were caught so far, in this process.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Has the place of a panic kept in place of printing what it says, where it is caught.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if DEPTH.get() == 0 {
                return print(panic);
            }
            let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
            PLACE.replace(place);
        }));
        let Ok(tested) = std::env::var(TEST_VARIABLE) else { return };
        let each = tested.split(',').map(|place| match place.split_once('=') {
            Some((what, times)) => (what.to_owned(), times.parse().unwrap_or(0)),
            None => (place.to_owned(), u64::MAX),
        });
        *TESTED.lock().unwrap_or_else(PoisonError::into_inner) = each.collect();
        IS_TESTED.store(true, Ordering::Relaxed);
    });
}

/// A place in the middle of some work where the tests can have it panic.
pub fn point(what: &str) {
    if IS_TESTED.load(Ordering::Relaxed) {
        panic_if_tested(what);
    }
}

#[expect(clippy::panic, reason = "to test that panics are caught")]
fn panic_if_tested(what: &str) {
    let mut tested = TESTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, left)) = tested.iter_mut().find(|(place, left)| place == what && *left > 0) {
        *left = left.saturating_sub(1);
        drop(tested);
        panic!("as {TEST_VARIABLE} asks");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_counted_and_its_place_told_but_not_what_it_says() {
        watch();
        let (before, text) = (count(), "INSERT INTO t VALUES ('secret')");
        assert_eq!(caught("adding", || 1 + 1), Ok(2));
        let panic = caught("cutting", || text[..8][9..].len()).unwrap_err();
        assert!(count() > before);
        let told = panic.to_string();
        assert!(told.contains("failed in cutting at src/ground/panics.rs:"), "{told}");
        assert!(!told.contains("INSERT"), "{told}");
    }

    #[tokio::test]
    async fn a_future_is_dropped_when_it_panics() {
        assert_eq!(caught_in("waiting", async { 7 }).await, Ok(7));
        let failed = caught_in("waiting", async {
            tokio::task::yield_now().await;
            let nothing: Vec<u8> = Vec::new();
            nothing[0]
        });
        assert!(failed.await.is_err());
    }
}
