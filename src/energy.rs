//! Energy of a phase from what a power sensor said meanwhile: pure, repeatable from the stored files.
//!
//! A reading is the mean over a window that ended some time before the sensor's last update, so the first readings of a
//! phase still show what came before it. [`estimate()`] therefore uses only what lies inside a phase, or accounts for
//! what lies outside, and says how uncertain that leaves the figure; [`grade()`] says what the figure may be used for.
//! Without enough readings there is no figure, and a [`Reason`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

pub mod calibration;
pub mod check;
pub mod edges;
pub mod estimate;
pub mod grade;
pub mod idle;
pub mod response;
#[cfg(test)]
mod simulation;
mod unread;

pub use calibration::{Calibration, Coverage, Measured};
pub use estimate::{Estimate, Stretch, Surroundings, Window, difference, estimate, pooled};
pub use grade::{Caps, Grade, grade};
pub use idle::{Idle, IdleKind, Rest, States};

/// One reading of a sensor's register.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Just before it was asked for.
    pub begin: Nanos,
    /// Just after the answer.
    pub end: Nanos,
    /// Watts, or joules of a counter. `None`: it did not answer, or with an error.
    pub value: Option<f64>,
}

impl Sample {
    /// When the register was read: the middle of the question.
    #[must_use]
    pub fn at(&self) -> Nanos {
        Nanos(self.begin.0 + self.end.since(self.begin).0 / 2)
    }

    /// Its value as power. A device that is on draws some, so 0 W is a reading that failed.
    #[must_use]
    pub fn watts(&self) -> Option<f64> {
        self.value.filter(|watts| *watts > 0.0)
    }
}

/// What one sensor said, each register's readings in order of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// Energy counter, in joules.
    pub counter: Vec<Sample>,
    /// Power over the sensor's own window, in watts.
    pub instant: Vec<Sample>,
    /// Power as a longer average, in watts.
    pub average: Vec<Sample>,
}

impl Trace {
    /// Readings between two times, with some more on either side.
    #[must_use]
    pub fn around(&self, begin: Nanos, end: Nanos, margin: Nanos) -> Self {
        let cut = |samples: &[Sample]| {
            let from = samples.partition_point(|sample| sample.end + margin < begin);
            let to = samples.partition_point(|sample| sample.begin <= end + margin);
            samples.get(from..to).unwrap_or_default().to_vec()
        };
        Self { counter: cut(&self.counter), instant: cut(&self.instant), average: cut(&self.average) }
    }
}

/// How a figure was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Counter slope inside a steady loop.
    SteadySlope,
    /// First to last counter update inside the phase, extended to its length.
    InnerEdge,
    /// Power readings that saw nothing but the phase.
    InstantInside,
    /// Counter difference around an isolated phase, idle power taken off.
    Padded,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::SteadySlope, Self::InnerEdge, Self::InstantInside, Self::Padded];

    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SteadySlope => "steady_slope",
            Self::InnerEdge => "inner_edge",
            Self::InstantInside => "instant_inside",
            Self::Padded => "padded",
        }
    }

    /// Whether it reads an energy counter rather than power.
    #[must_use]
    pub fn counts(self) -> bool {
        self != Self::InstantInside
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why there is no figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The phase is over before the sensor has updated often enough.
    TooShort,
    /// No sensor on this machine.
    NoSensor,
    /// There is one that this user may not read.
    Permission,
    /// Readings are missing in it.
    PollGap,
    /// The sensor's registers kept their values in it, longer than between two updates.
    Stale,
    /// The counter started again in it.
    CounterReset,
    /// The sensor is the whole board's, of which the program has a part.
    Mig,
    /// Idle power is needed, and not known.
    IdleInvalid,
    /// More than half of the figure is uncertain.
    UTooLarge,
    /// Nothing proves which device the call ran on.
    Unattributed,
    /// A repetition was not what was asked for; the record says how.
    Failed,
}

impl Reason {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::NoSensor => "no_sensor",
            Self::Permission => "permission",
            Self::PollGap => "poll_gap",
            Self::Stale => "stale",
            Self::CounterReset => "counter_reset",
            Self::Mig => "mig",
            Self::IdleInvalid => "idle_invalid",
            Self::UTooLarge => "u_too_large",
            Self::Unattributed => "unattributed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Mean of power readings inside a phase times its length, where there are at least two: the gate of the published
/// reports, kept to compare with their tables. It is low wherever a reading's window reaches back before the phase.
#[must_use]
pub fn legacy_gate(begin: Nanos, end: Nanos, power: &[Sample]) -> Option<f64> {
    let inside = power.iter().filter(|sample| sample.at() >= begin && sample.at() <= end);
    let watts: Vec<f64> = inside.filter_map(|sample| sample.value).collect();
    (watts.len() >= 2).then(|| mean(&watts) * end.since(begin).as_secs())
}

/// Arithmetic mean; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of readings")]
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation of a sample; 0 of fewer than two.
#[expect(clippy::cast_precision_loss, reason = "counts of readings")]
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let (n, mean) = (values.len(), mean(values));
    if n < 2 { 0.0 } else { (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt() }
}

/// Root of the sum of squares: how independent uncertainties add up.
pub(crate) fn together(parts: &[f64]) -> f64 {
    parts.iter().map(|part| part * part).sum::<f64>().sqrt()
}
