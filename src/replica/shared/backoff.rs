//! How long to wait before the next try.

use std::time::Duration;

/// The most that a `Retry-After` may ask for: a mistaken header must not silence a replica for a day.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Exponential backoff with full jitter: each pause is random between nothing and a bound that doubles. The
/// jitter keeps many processes from coming back to a replica all at once
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
    random: fastrand::Rng,
}

/// Failures in a row after which a replica counts as down: by then about a second has passed.
const OPEN_AFTER: u32 = 5;

/// Whether a replica is taken to be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Breaker {
    /// It is.
    #[default]
    Closed,
    /// It failed [`OPEN_AFTER`] times in a row: only a short question is sent, after each pause.
    Open,
    /// That question is under way.
    HalfOpen,
}

impl Breaker {
    /// Its name in `stats()`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Backoff {
    /// One whose first pause is at most `base` and none more than `max`; `seed` fixes the jitter.
    pub fn new(base: Duration, max: Duration, seed: u64) -> Self {
        Self { base, max, failures: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// Notes a failure: the pause after it, at least `at_least`.
    pub fn fail(&mut self, at_least: Option<Duration>) -> Duration {
        let doubled = self.base.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let bound = doubled.min(self.max);
        let pause = bound.mul_f64(self.random.f64());
        pause.max(at_least.unwrap_or_default().min(MAX_RETRY_AFTER))
    }

    /// Notes a success: whether there was a failure before it.
    pub fn succeed(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// Notes that the next try is another one than the last: it need not wait longer than that did.
    pub fn ease(&mut self) {
        self.failures = self.failures.min(1);
    }

    /// Whether the last failure was the first of its row.
    pub fn is_first(&self) -> bool {
        self.failures == 1
    }

    /// Whether there were so many failures that the replica counts as down.
    pub fn is_open(&self) -> bool {
        self.failures >= OPEN_AFTER
    }

    /// Whether the last failure was the one that made it so.
    pub fn just_opened(&self) -> bool {
        self.failures == OPEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_grow_to_the_bound_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(10 * MS, 1_000 * MS, 7);
        let longest = |backoff: &mut Backoff| (0..40).map(|_| backoff.fail(None)).max().unwrap();
        for n in 0..5 {
            assert!(backoff.fail(None) <= 10 * MS * (1 << n));
        }
        let most = longest(&mut backoff);
        assert!(most > 500 * MS && most <= 1_000 * MS, "{most:?}");
        assert!(backoff.is_open());
        backoff.ease();
        assert!(backoff.fail(None) <= 20 * MS);
        assert!(backoff.succeed() && !backoff.succeed());
        assert!(backoff.fail(None) <= 10 * MS);
    }

    #[test]
    fn a_retry_after_is_a_least_pause_and_is_itself_bounded() {
        let mut backoff = Backoff::new(MS, MS, 7);
        assert_eq!(backoff.fail(Some(Duration::from_secs(2))), Duration::from_secs(2));
        assert_eq!(backoff.fail(Some(Duration::from_secs(86_400))), MAX_RETRY_AFTER);
    }

    #[test]
    fn the_seed_fixes_the_jitter() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(MS, 100 * MS, seed);
            (0..8).map(|_| backoff.fail(None)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}
