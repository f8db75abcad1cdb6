//! A point in time that takes half the room of an `Instant`: every pending write has one.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A point on the monotonic clock, in nanoseconds from the first one that was asked for. It reaches 292 years back and forth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self(nanos(base().elapsed()))
    }

    /// So long before this moment, perhaps before the process began.
    pub fn ago(duration: Duration) -> Self {
        Self(Self::now().0.saturating_sub(nanos(duration)))
    }

    /// The time since; nothing for one that is still to come.
    pub fn elapsed(self) -> Duration {
        self.until(Self::now())
    }

    /// The time from here to `later`; nothing where that is earlier.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_nanos(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_one_way_only() {
        let (now, hour) = (Moment::now(), Duration::from_secs(3_600));
        let before = Moment::ago(hour);
        assert!(before < now && before.elapsed() >= hour);
        assert_eq!(now.until(before), Duration::ZERO);
        assert!(before.until(now) <= hour);
    }
}
