//! How evenly a sampler worked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// Figures of one sampler from its start to its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuity {
    /// Time between ticks that was asked for.
    pub period_ns: Nanos,
    /// Time it ran.
    pub duration_ns: Nanos,
    /// Ticks that were due.
    pub ticks_due: u64,
    /// Ticks taken; the others were passed over because an earlier one took too long.
    pub ticks_taken: u64,
    /// Longest time between two ticks.
    pub largest_gap_ns: Nanos,
    /// How much later than due a tick began: median. `None`: no tick.
    pub lateness_p50_ns: Option<Nanos>,
    /// The same, 99th percentile.
    pub lateness_p99_ns: Option<Nanos>,
    /// Time that all sensors together took to answer: median. `None`: no tick.
    pub answer_p50_ns: Option<Nanos>,
    /// The same, 99th percentile.
    pub answer_p99_ns: Option<Nanos>,
    /// Readings without a value by reason.
    pub faults: BTreeMap<String, u64>,
    /// Readings lost because nobody took them out of the queue.
    pub dropped: u64,
    /// Processor time of the sampler's thread.
    pub thread_cpu_ns: Nanos,
    /// What each sensor's registers showed, by the sensor's id and the register's name.
    #[serde(default)]
    pub registers: BTreeMap<String, BTreeMap<String, Shown>>,
    /// The run's clock beside the calendar, once a minute and at the end.
    #[serde(default)]
    pub clock_pairs: Vec<ClockPair>,
}

/// How often a register showed another value than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Readings with a value.
    pub readings: u64,
    /// Of these, those that differ from the one before.
    pub changes: u64,
}

/// One moment on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockPair {
    /// On the run's clock.
    pub clock_ns: Nanos,
    /// Calendar time since 1970.
    pub unix_ns: u64,
}

impl Continuity {
    /// Share of the ticks due that were taken. `None`: none was due.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    pub fn share_taken(&self) -> Option<f64> {
        (self.ticks_due > 0).then(|| self.ticks_taken as f64 / self.ticks_due as f64)
    }
}
