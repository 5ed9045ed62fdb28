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
        watcher: &mut Watcher,
        clock: &SharedClock,
        cancel: &CancelToken,
    ) -> Option<WaitRecord> {
        let begin = clock.now();
        if self.rule.wait_quiet_ns == Nanos(0) || begin < self.not_before || self.waited_for == Some(call) {
            return None;
        }
        if watcher.is_quiet(self.rule.foreign_cpu).unwrap_or(!disturbed) {
            return None;
        }
        self.waited_for = Some(call);
        let is_over = |now: Nanos| now.since(begin) >= self.rule.wait_quiet_ns || cancel.is_cancelled();
        let quiet = loop {
            cancel.wait(Deadline(LOOKS_EVERY), || false);
            if watcher.is_quiet(self.rule.foreign_cpu) == Some(true) {
                break true;
            }
            if is_over(clock.now()) {
                break false;
            }
        };
        let end = clock.now();
        let duration_ns = end.since(begin);
        if !quiet {
            self.not_before = end + Nanos(duration_ns.0.saturating_mul(PATIENCE - 1));
        }
        Some(WaitRecord { duration_ns, quiet })
    }
}
