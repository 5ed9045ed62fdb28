//! Energy of a phase from what a power sensor said meanwhile: pure, repeatable from the stored files.
//!
//! A reading is the mean over a window that ended some time before the sensor's last update, so the first readings of a
//! phase still show what came before it. [`estimate()`] therefore uses only what lies inside a phase, or accounts for
//! what lies outside, and says how uncertain that leaves the figure; [`grade()`] says what the figure may be used for.
//! Without enough readings there is no figure, and a [`NoFigure`](crate::terms::energy::NoFigure).

use crate::units::Nanos;

mod boards;
pub mod check;
pub mod edges;
pub mod estimate;
pub mod grade;
pub mod idle;
mod registers;
pub mod response;
mod sample;
#[cfg(test)]
mod simulation;
mod unread;

pub use boards::Boards;
pub use estimate::{Estimate, Stretch, StretchContext, Window, difference, estimate, pooled};
pub use grade::{Caps, grade};
pub use idle::{Idle, Rest, States};
pub use registers::trace_of;
pub use sample::{Sample, Trace};

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
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation of a sample; 0 of fewer than two.
#[expect(clippy::cast_precision_loss, reason = "counts of readings")]
#[must_use]
pub fn deviation(values: &[f64]) -> f64 {
    let (n, mean) = (values.len(), mean(values));
    if n < 2 { 0.0 } else { (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt() }
}

/// Root of the sum of squares: how independent uncertainties add up.
#[must_use]
pub fn together(parts: &[f64]) -> f64 {
    parts.iter().map(|part| part * part).sum::<f64>().sqrt()
}
