//! Threads that do the same work at the same time.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// What one thread did and when.
struct Done {
    begin: Instant,
    end: Instant,
    amount: f64,
}

/// Lets each worker, on a thread of its own, do pieces of work for `time`. A piece is short and says its amount.
///
/// All amounts together ÷ the time from the first begin to the last end, per second.
pub(crate) fn rate<W: Send>(workers: &mut [W], time: Duration, piece: impl Fn(&mut W) -> f64 + Sync) -> f64 {
    let together = Barrier::new(workers.len());
    let work = |worker: &mut W| {
        together.wait();
        let begin = Instant::now();
        let mut done = Done { begin, end: begin, amount: 0.0 };
        while done.end.duration_since(begin) < time {
            done.amount += piece(worker);
            done.end = Instant::now();
        }
        done
    };
    let all: Vec<Done> = thread::scope(|scope| {
        let started: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(|| work(worker))).collect();
        started.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let (begin, end) = (all.iter().map(|done| done.begin).min(), all.iter().map(|done| done.end).max());
    let Some((begin, end)) = begin.zip(end) else { return 0.0 };
    all.iter().map(|done| done.amount).sum::<f64>() / end.duration_since(begin).as_secs_f64()
}
