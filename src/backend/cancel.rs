//! Deadlines and cancellation that reach into an engine's call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A thread that wakes up later than this was not waiting for a processor.
const OVERSLEPT: Duration = Duration::from_millis(100);

/// Longest time a call or load may take, as real time from when the engine starts on it.
///
/// A simulated engine takes it as time on its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Duration);

/// Asks a call in flight to stop. Clones share one state; once cancelled it stays so.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    inner: Arc<(Mutex<bool>, Condvar)>,
    /// Time so far in which this program or an engine could not run at all.
    unusable_ns: Arc<AtomicU64>,
}

/// Why [`CancelToken::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// Someone cancelled.
    Cancelled,
    /// The time is over.
    TimedOut,
    /// The work that was watched is done.
    Done,
}

impl CancelToken {
    /// Cancels. Idempotent.
    pub fn cancel(&self) {
        let (cancelled, condition) = &*self.inner;
        *cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condition.notify_all();
    }

    /// Whether someone cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that time has passed in which this program or an engine could not run at all, as where one was stopped: every
    /// deadline that is running is so much later.
    pub fn prolong(&self, unusable: Duration) {
        let ns = u64::try_from(unusable.as_nanos()).unwrap_or(u64::MAX);
        self.unusable_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn unusable(&self) -> Duration {
        Duration::from_nanos(self.unusable_ns.load(Ordering::Relaxed))
    }

    /// Wakes waiters so that they look at their `done` again.
    pub fn wake(&self) {
        let (cancelled, condition) = &*self.inner;
        // Taken so that no waiter is between looking at `done` and falling asleep.
        drop(cancelled.lock().unwrap_or_else(PoisonError::into_inner));
        condition.notify_all();
    }

    /// Sleeps until a cancel, the deadline, or until `done` says so after a [`wake`](Self::wake).
    ///
    /// The deadline is on time in which something could run: see [`prolong`](Self::prolong).
    pub fn wait(&self, by: Deadline, mut done: impl FnMut() -> bool) -> Waited {
        let (begin, unusable) = (Instant::now(), self.unusable());
        let mut at_least = Duration::ZERO;
        let (cancelled, condition) = &*self.inner;
        let mut guard = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if done() {
                return Waited::Done;
            }
            if *guard {
                return Waited::Cancelled;
            }
            let allowed = by.0 + self.unusable().saturating_sub(unusable);
            let left = allowed.max(at_least).saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            let asleep = Instant::now();
            guard = condition.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
            // This thread itself was held: whoever watches for that has to wake up too before it can tell.
            if asleep.elapsed() > left + OVERSLEPT {
                at_least = begin.elapsed() + OVERSLEPT;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_nobody_could_use_is_no_part_of_a_deadline() {
        const BY: Deadline = Deadline(Duration::from_millis(20));
        let token = CancelToken::default();
        token.prolong(Duration::from_secs(3600));
        let begin = Instant::now();
        assert_eq!(token.wait(BY, || false), Waited::TimedOut, "what was before it does not count");
        assert!(begin.elapsed() >= BY.0 && begin.elapsed() < Duration::from_secs(60));
        let mut told = false;
        let begin = Instant::now();
        let waited = token.wait(BY, || {
            if !told {
                told = true;
                token.prolong(BY.0 * 3);
            }
            false
        });
        assert_eq!(waited, Waited::TimedOut);
        assert!(begin.elapsed() >= BY.0 * 4, "{:?}", begin.elapsed());
    }
}
