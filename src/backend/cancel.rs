//! Deadlines and cancellation that reach into an engine's call.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time a call or load may take, as real time from when the engine starts on it.
///
/// A simulated engine takes it as time on its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Duration);

/// Asks a call in flight to stop. Clones share one state; once cancelled it stays so.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    inner: Arc<(Mutex<bool>, Condvar)>,
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

    /// Wakes waiters so that they look at their `done` again.
    pub fn wake(&self) {
        let (cancelled, condition) = &*self.inner;
        // Taken so that no waiter is between looking at `done` and falling asleep.
        drop(cancelled.lock().unwrap_or_else(PoisonError::into_inner));
        condition.notify_all();
    }

    /// Sleeps until a cancel, the deadline, or until `done` says so after a [`wake`](Self::wake).
    pub fn wait(&self, by: Deadline, mut done: impl FnMut() -> bool) -> Waited {
        let end = Instant::now() + by.0;
        let (cancelled, condition) = &*self.inner;
        let mut guard = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if done() {
                return Waited::Done;
            }
            if *guard {
                return Waited::Cancelled;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            guard = condition.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
