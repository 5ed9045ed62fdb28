//! Waiting for a quiet machine before a timed call, within bounds.

use std::time::Duration;

use crate::backend::{CancelToken, Deadline};
use crate::clock::SharedClock;
use crate::record::WaitRecord;
use crate::telemetry::Watcher;
use crate::terms::Disturbed;
use crate::units::Nanos;

/// The machine is looked at so often meanwhile.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// After a wait in vain none follows before so many times as long has passed: waiting for what does not end is to cost a
/// tenth of the run at most.
const PATIENCE: u64 = 10;

/// What is waited for, and the time that passes meanwhile.
pub(super) trait Surroundings {
    /// The time.
    fn now(&self) -> Nanos;
    /// Whether other programs leave the processors alone. `None`: not known.
    fn is_quiet(&mut self) -> Option<bool>;
    /// Lets time pass until the next look. False: someone cancelled.
    fn rest(&mut self, time: Duration) -> bool;
}

/// This machine.
pub(super) struct Machine<'a> {
    pub(super) watcher: &'a mut Watcher,
    pub(super) clock: &'a SharedClock,
    pub(super) cancel: &'a CancelToken,
    /// See [`Disturbed::foreign_cpu`].
    pub(super) limit: f64,
}

impl Surroundings for Machine<'_> {
    fn now(&self) -> Nanos {
        self.clock.now()
    }

    fn is_quiet(&mut self) -> Option<bool> {
        self.watcher.is_quiet(self.limit)
    }

    fn rest(&mut self, time: Duration) -> bool {
        self.cancel.wait(Deadline(time), || false);
        !self.cancel.is_cancelled()
    }
}

/// Waits of one process.
#[derive(Debug)]
pub(super) struct Quiet {
    rule: Disturbed,
    /// No wait before this moment.
    not_before: Nanos,
    /// The timed call that was waited for last: cell, number, try.
    waited_for: Option<(usize, u32, u32)>,
}

impl Quiet {
    pub(super) fn new(rule: Disturbed) -> Self {
        Self { rule, not_before: Nanos(0), waited_for: None }
    }

    /// Waits before a timed call, once for each, where the machine is not quiet: `disturbed` says whether the last call was
    /// disturbed, for where nothing else is known. `None`: there was nothing to wait for.
    pub(super) fn wait(
        &mut self,
        call: (usize, u32, u32),
        disturbed: bool,
        around: &mut impl Surroundings,
    ) -> Option<WaitRecord> {
        let begin = around.now();
        if self.rule.wait_quiet_ns == Nanos(0) || begin < self.not_before || self.waited_for == Some(call) {
            return None;
        }
        if around.is_quiet().unwrap_or(!disturbed) {
            return None;
        }
        self.waited_for = Some(call);
        let quiet = loop {
            let goes_on = around.rest(LOOKS_EVERY);
            if around.is_quiet() == Some(true) {
                break true;
            }
            if !goes_on || around.now().since(begin) >= self.rule.wait_quiet_ns {
                break false;
            }
        };
        let end = around.now();
        let duration_ns = end.since(begin);
        if !quiet {
            self.not_before = end + Nanos(duration_ns.0.saturating_mul(PATIENCE - 1));
        }
        Some(WaitRecord { duration_ns, quiet })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A machine on which other programs work in some stretches of time, on a clock that stands still but for rests.
    struct Scripted {
        now: Nanos,
        /// Begin and end of the others' work, in milliseconds.
        busy: Vec<(u64, u64)>,
        /// Nothing is known of others before.
        known_from: u64,
        cancelled_at: Option<u64>,
        looks: u32,
    }

    impl Scripted {
        fn new(busy: &[(u64, u64)]) -> Self {
            Self { now: Nanos(0), busy: busy.to_vec(), known_from: 0, cancelled_at: None, looks: 0 }
        }

        fn ms(&self) -> u64 {
            self.now.0 / MS
        }
    }

    impl Surroundings for Scripted {
        fn now(&self) -> Nanos {
            self.now
        }

        fn is_quiet(&mut self) -> Option<bool> {
            self.looks += 1;
            let busy = self.busy.iter().any(|&(begin, end)| (begin..end).contains(&self.ms()));
            (self.ms() >= self.known_from).then_some(!busy)
        }

        fn rest(&mut self, time: Duration) -> bool {
            self.now = self.now + Nanos::from(time);
            self.cancelled_at.is_none_or(|at| self.ms() < at)
        }
    }

    fn quiet(wait_ms: u64) -> Quiet {
        Quiet::new(Disturbed { retry: 1, foreign_cpu: 0.1, wait_quiet_ns: Nanos(wait_ms * MS) })
    }

    fn waited(ms: u64, quiet: bool) -> Option<WaitRecord> {
        Some(WaitRecord { duration_ns: Nanos(ms * MS), quiet })
    }

    #[test]
    fn a_quiet_machine_is_not_waited_for() {
        let mut machine = Scripted::new(&[]);
        assert_eq!(quiet(10_000).wait((0, 0, 0), true, &mut machine), None);
        assert_eq!((machine.now, machine.looks), (Nanos(0), 1));
        let mut machine = Scripted::new(&[(0, 5000)]);
        assert_eq!(quiet(0).wait((0, 0, 0), true, &mut machine), None, "the scenario says never");
        assert_eq!(machine.looks, 0);
    }

    #[test]
    fn a_load_that_goes_is_waited_for_and_no_longer() {
        let (mut rule, mut machine) = (quiet(10_000), Scripted::new(&[(0, 2050)]));
        assert_eq!(rule.wait((0, 0, 0), false, &mut machine), waited(2100, true));
        assert_eq!(rule.wait((0, 0, 0), false, &mut machine), None, "once for each call");
        // It comes back before the next call, and nothing keeps that one from waiting.
        machine.busy.push((2100, 2500));
        assert_eq!(rule.wait((0, 1, 0), false, &mut machine), waited(400, true));
    }

    #[test]
    fn each_try_and_each_call_waits_for_itself_and_once() {
        let (mut rule, mut machine) = (quiet(1000), Scripted::new(&[(0, 150)]));
        for call in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 0)] {
            let now = machine.ms();
            machine.busy = vec![(now, now + 50)];
            assert_eq!(rule.wait(call, false, &mut machine), waited(100, true), "{call:?}");
            machine.busy = vec![(now, now + 500)];
            assert_eq!(rule.wait(call, false, &mut machine), None, "{call:?}");
        }
    }

    #[test]
    fn a_wait_has_an_end_and_waits_in_vain_cost_a_tenth_of_the_time() {
        const CALL_MS: u64 = 200;
        let (mut rule, mut machine) = (quiet(3000), Scripted::new(&[(0, u64::MAX)]));
        assert_eq!(rule.wait((0, 0, 0), false, &mut machine), waited(3000, false));
        let mut spent = 3000;
        for call in 1..2000 {
            machine.now = machine.now + Nanos(CALL_MS * MS);
            if let Some(wait) = rule.wait((0, call, 0), true, &mut machine) {
                assert_eq!(Some(wait), waited(3000, false));
                spent += 3000;
            }
        }
        // The last one may not have been paid for yet.
        assert!((machine.ms() / 12..=machine.ms() / 10 + 3000).contains(&spent), "{spent} of {} ms", machine.ms());
    }

    #[test]
    fn where_nothing_is_known_the_last_call_decides() {
        let mut machine = Scripted { known_from: 500, ..Scripted::new(&[]) };
        assert_eq!(quiet(1000).wait((0, 0, 0), false, &mut machine), None);
        assert_eq!(quiet(1000).wait((0, 0, 0), true, &mut machine), waited(500, true), "until it is known");
        let mut machine = Scripted { known_from: u64::MAX, ..Scripted::new(&[]) };
        assert_eq!(quiet(1000).wait((0, 0, 0), true, &mut machine), waited(1000, false));
    }

    #[test]
    fn a_signal_ends_a_wait() {
        let mut machine = Scripted { cancelled_at: Some(300), ..Scripted::new(&[(0, u64::MAX)]) };
        assert_eq!(quiet(60_000).wait((0, 0, 0), true, &mut machine), waited(300, false));
    }
}
