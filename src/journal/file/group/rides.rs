//! Positions of replicas: they go into the file with the writes of others.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Group, STEADY};
use crate::journal::{file::ride::Ride, memory::cursor::Cursor};

/// How long a replica that keeps up is held back while the load is steady. Without that there would be a request to each
/// replica for each commit or two, and they would take most of the processor.
const HOLD: Duration = Duration::from_millis(1);

impl Group {
    /// Adds a position to what is saved next; with `hold`, not at once while the load is steady.
    pub fn add_ride(&self, replica: u8, cursor: &Cursor, hold: bool) -> Arc<Ride> {
        let ripe = Instant::now() + if hold { HOLD } else { Duration::ZERO };
        let ride = Arc::new(Ride::new(replica, cursor, ripe));
        self.state().rides.push(Arc::clone(&ride));
        ride
    }

    /// Takes it back.
    pub fn remove_ride(&self, ride: &Arc<Ride>) {
        self.state().rides.retain(|other| !Arc::ptr_eq(other, ride));
    }

    /// Holds nobody back who is not past write number `seq`.
    pub fn hurry(&self, seq: u64) {
        let mut state = self.state();
        state.awaited = state.awaited.max(seq);
        state.rides.iter().filter(|ride| ride.comes_before(seq)).for_each(|ride| ride.wake());
    }

    /// As [`Self::join`]: while writes come, their commits take the position with them.
    pub fn join_ride(&self, ride: &Ride) -> bool {
        let mut state = self.state();
        if !ride.is_open() {
            return false;
        }
        if !state.leading && (ride.comes_before(state.awaited) || !state.is_steady()) {
            state.leading = true;
            state.steady = false;
            return true;
        }
        drop(state);
        thread::park_timeout(STEADY);
        false
    }

    /// The positions to be saved now.
    pub fn take_rides(&self) -> Vec<Arc<Ride>> {
        let mut state = self.state();
        let (now, steady) = (Instant::now(), state.steady);
        let awaited = state.awaited;
        let goes = |ride: &mut Arc<Ride>| !steady || ride.ripe <= now || ride.comes_before(awaited);
        state.rides.extract_if(.., goes).collect()
    }
}
