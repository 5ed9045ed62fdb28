//! Stops a call or load that is over its deadline, or that nobody wants any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::backend::cancel::{CancelToken, Deadline, Waited};

/// Does `work` while a sleeping thread watches; `stop` is called once if the deadline passes or someone cancels.
/// Says what the watcher saw last: [`Waited::Done`] if the work ended first.
///
/// The work begins once the watcher is about to sleep: a thread that starts beside it takes a processor that the
/// engine's own threads wake up on, and on a machine with two they then wait for each other.
pub fn watched<T>(
    by: Deadline,
    cancel: &CancelToken,
    stop: impl FnOnce() + Send,
    work: impl FnOnce() -> T,
) -> (T, Waited) {
    let done = AtomicBool::new(false);
    let (tell, watching) = sync_channel(1);
    thread::scope(|scope| {
        let (done, cancel) = (&done, &cancel);
        let watcher = scope.spawn(move || {
            let waited = cancel.wait(by, || {
                // Full after the first time, and nobody listens any more.
                let _ = tell.try_send(());
                done.load(Ordering::Acquire)
            });
            if waited != Waited::Done {
                stop();
            }
            waited
        });
        // An error: the watcher has seen the end already.
        let _ = watching.recv();
        let result = work();
        done.store(true, Ordering::Release);
        cancel.wake();
        (result, watcher.join().unwrap_or(Waited::Done))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_that_ends_by_itself_is_left_alone() {
        let stopped = AtomicBool::new(false);
        let stop = || stopped.store(true, Ordering::SeqCst);
        let (result, waited) = watched(Deadline(Duration::from_secs(60)), &CancelToken::default(), stop, || 7);
        assert_eq!((result, waited), (7, Waited::Done));
        assert!(!stopped.load(Ordering::SeqCst));
    }

    #[test]
    fn the_deadline_and_a_cancel_stop_the_work() {
        for (by, cancelled, expected) in
            [(Duration::ZERO, false, Waited::TimedOut), (Duration::from_secs(60), true, Waited::Cancelled)]
        {
            let cancel = CancelToken::default();
            if cancelled {
                cancel.cancel();
            }
            let (tell, told) = mpsc::channel();
            let work = || told.recv_timeout(Duration::from_secs(60));
            let (result, waited) = watched(Deadline(by), &cancel, move || assert!(tell.send(()).is_ok()), work);
            assert_eq!((result, waited), (Ok(()), expected));
        }
    }
}
