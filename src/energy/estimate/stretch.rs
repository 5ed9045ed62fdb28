//! What is asked about, what is known around it, and the answer.

use crate::energy::idle::Idle;
use crate::record::calibration::Calibration;
use crate::terms::energy::{IdleKind, Method};
use crate::units::Nanos;

/// A drift or variation that a few readings cannot show is taken to be at least this large, relative.
pub(super) const LEAST_VARIATION: f64 = 0.05;

/// Counter updates that must lie inside a phase for its slope to be used.
pub(super) const FEWEST_EDGES: usize = 5;

/// Update periods, or polling periods where those are longer, without an update after which a register counts as standing
/// still.
pub(super) const STALE: u64 = 3;

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Where the work began and ended, once for each window of a loop; one window for a phase as it came.
    pub windows: Vec<Window>,
    /// Whether each window repeats the phase steadily, with nothing before and after it inside the window.
    pub looped: bool,
}

/// One stretch of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub begin: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// How often the phase was repeated in it.
    pub repeats: u32,
    /// Time in it that was left idle on purpose, to shift the work against the sensor.
    pub idle: Nanos,
    /// Groups that such pauses divide it into; 1: none.
    pub groups: u32,
    /// Largest error of either time.
    pub uncertainty: Nanos,
}

impl Window {
    pub(super) fn seconds(&self) -> f64 {
        self.end.since(self.begin).as_secs()
    }

    /// What lies in it whatever its times' errors are, as a register shows it that is late by `delay`. `None`: nothing.
    pub(super) fn surely(&self, delay: Nanos) -> Option<(Nanos, Nanos)> {
        let (begin, end) = (self.begin + self.uncertainty, Nanos(self.end.0.saturating_sub(self.uncertainty.0)));
        (begin < end).then(|| (begin + delay, end + delay))
    }

    /// Standard uncertainty of its length, relative: each end is somewhere within its largest error.
    pub(super) fn u_length(&self) -> f64 {
        (2.0_f64 / 3.0).sqrt() * self.uncertainty.as_secs() / self.seconds()
    }
}

impl Stretch {
    /// A phase as it came, once; each of its times may be wrong by `uncertainty`.
    #[must_use]
    pub fn natural(begin: Nanos, end: Nanos, uncertainty: Nanos) -> Self {
        let window = Window { begin, end, repeats: 1, idle: Nanos(0), groups: 1, uncertainty };
        Self { windows: vec![window], looped: false }
    }

    /// Repetitions in all windows.
    #[must_use]
    pub fn repeats(&self) -> u32 {
        self.windows.iter().map(|window| window.repeats).sum()
    }

    /// Seconds of work per repetition.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let busy: f64 = self.windows.iter().map(|w| w.end.since(w.begin).since(w.idle).as_secs()).sum();
        busy / f64::from(self.repeats().max(1))
    }
}

/// What is known around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StretchContext<'a> {
    /// The sensor.
    pub calibration: &'a Calibration,
    /// The polling period.
    pub poll: Nanos,
    /// Idle power; only with the model resident is it used for an estimate. `None`: not measured, or not valid.
    pub idle: Option<&'a Idle>,
    /// Since when nothing else ran before it. `None`: something ran right before.
    pub quiet_since: Option<Nanos>,
    /// Until when nothing else ran after it. `None`: something ran right after, or readings end.
    pub quiet_until: Option<Nanos>,
}

impl StretchContext<'_> {
    /// Idle power of what the device does between two calls.
    pub(super) fn resident(&self) -> Option<&Idle> {
        self.idle.filter(|idle| idle.kind == IdleKind::IdleCtx)
    }

    /// Longest time that a register may keep its value.
    pub(super) fn longest_still(&self, period: Nanos) -> Nanos {
        Nanos(STALE * period.max(self.poll).0)
    }
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// How it was obtained.
    pub method: Method,
    /// Energy of one repetition, idle power included, in joules.
    pub gross_j: f64,
    /// Standard uncertainty of it without the sensor's gain, relative to it.
    pub u_stat: f64,
    /// The part of it that is the same in every repetition of the phase, so that no mean makes it smaller.
    pub u_shared: f64,
    /// Sensor updates it rests on: times at which the register it is from showed another value.
    pub updates: u32,
    /// Share of the work that the sensor saw in a way that does not depend on when it looked.
    pub swept: bool,
}

/// Standard uncertainty of the time between two edges, each somewhere within `spacing`: two uniform distributions.
pub(super) fn edge_time(spacing: f64) -> f64 {
    spacing / 6.0_f64.sqrt()
}

/// What the standard error of so few values is multiplied by for twice it to be a 95 % interval: Student's t at 0.975
/// ÷ 2.
pub(super) fn few(values: usize) -> f64 {
    const T: [f64; 9] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];
    values.checked_sub(2).and_then(|index| T.get(index)).map_or(1.1, |t| t / 2.0)
}
