//! What the threads of one server share: the end of its life, and the log of requests and replies.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Stamps;
use super::http::Request;

/// Longest body that stays in the log of requests; a model being uploaded does not.
const LOGGED_BODY_BYTES: usize = 1 << 20;

/// Locks; a test thread that panicked while it held the lock does not take the others with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    closed: Mutex<bool>,
    closing: Condvar,
    pub(super) requests: Mutex<Vec<Request>>,
    pub(super) stamps: Mutex<Vec<Stamps>>,
}

impl Shared {
    pub(super) fn close(&self) {
        *lock(&self.closed) = true;
        self.closing.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        *lock(&self.closed)
    }

    /// Waits for the moment; an error where the server is closed before.
    pub(super) fn wait_until(&self, moment: Instant) -> io::Result<()> {
        let mut closed = lock(&self.closed);
        while !*closed {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            closed = self.closing.wait_timeout(closed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(io::Error::other("the server is being dropped"))
    }

    pub(super) fn note(&self, request: &Request) {
        let mut noted = request.clone();
        if noted.body.len() > LOGGED_BODY_BYTES {
            noted.body = Vec::new();
        }
        lock(&self.requests).push(noted);
    }

    /// Opens the stamps of a reply; returns their place.
    pub(super) fn open_stamps(&self, path: &str) -> usize {
        let mut stamps = lock(&self.stamps);
        stamps.push(Stamps { path: path.to_owned(), first: None, last: None, lines: 0 });
        stamps.len() - 1
    }

    /// Stamps a line that is sent next.
    pub(super) fn stamp(&self, place: usize) {
        if let Some(stamps) = lock(&self.stamps).get_mut(place) {
            let now = Instant::now();
            stamps.first.get_or_insert(now);
            stamps.last = Some(now);
            stamps.lines += 1;
        }
    }
}
