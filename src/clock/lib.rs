//! Where time comes from: the machine's monotonic clock, or a virtual one that tests and simulations drive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phasebench_units::Nanos;

/// A monotonic clock. Readings count from the clock's own start.
pub trait Clock: Send + Sync {
    /// The present reading.
    fn now(&self) -> Nanos;
    /// Lets time pass: sleeps, or moves a virtual clock.
    fn pass(&self, time: Duration);
    /// True where time passes only when told to.
    fn is_virtual(&self) -> bool;
}

/// A clock shared by the loop and the engines.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl Default for RealClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Nanos {
        self.start.elapsed().into()
    }

    fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn is_virtual(&self) -> bool {
        false
    }
}

/// Time that passes only when told to.
#[derive(Debug, Default)]
pub struct VirtualClock {
    now: AtomicU64,
}

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        Nanos(self.now.load(Ordering::SeqCst))
    }

    fn pass(&self, time: Duration) {
        self.now.fetch_add(Nanos::from(time).0, Ordering::SeqCst);
    }

    fn is_virtual(&self) -> bool {
        true
    }
}
/// Calendar time now, in nanoseconds since 1970. 0 before that.
#[must_use]
pub fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| Nanos::from(since).0)
}
