//! Axes: where a value lies, and which values are named beside the axis.
//!
//! The drawing library has logarithmic axes of its own; theirs name only powers of ten, and one model family
//! spans hardly one of those.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// A named value on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub value: f64,
    /// What is printed there.
    pub label: String,
}

/// A linear or logarithmic axis with the values it names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    log: bool,
    /// From end to end; of a logarithmic axis, the exponents of ten.
    ends: Range<f64>,
    ticks: Vec<Tick>,
}

impl Axis {
    /// A logarithmic axis over positive values with at most `most` ticks; `None` without values.
    pub fn log(values: impl IntoIterator<Item = f64>, most: usize) -> Option<Self> {
        let (low, high) = extent(values.into_iter().map(f64::log10))?;
        // One value, or nearly one, stands in the middle of an axis that reaches a bit to both sides.
        let pad = (0.06 * (high - low)).max(0.05);
        let ends = low - pad..high + pad;
        Some(Self { log: true, ticks: log_ticks(&ends, most), ends })
    }

    /// A linear axis with at most `most` ticks, labelled by `label(value, decimals)`; `None` without values.
    pub fn linear(
        values: impl IntoIterator<Item = f64>,
        most: usize,
        label: impl Fn(f64, usize) -> String,
    ) -> Option<Self> {
        let (low, high) = extent(values)?;
        let pad = if high > low { 0.04 * (high - low) } else { (0.04 * low.abs()).max(0.5) };
        let ends = low - pad..high + pad;
        let ticks = linear_values(&ends, most)
            .into_iter()
            .map(|(value, decimals)| Tick { value, label: label(value, decimals) })
            .collect();
        Some(Self { log: false, ends, ticks })
    }

    /// A linear axis from end to end exactly, with the ticks given.
    pub fn fixed(ends: Range<f64>, ticks: Vec<Tick>) -> Self {
        Self { log: false, ends, ticks }
    }

    /// What is printed beside the ticks.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.ticks.iter().map(|tick| tick.label.as_str())
    }

    /// How far along the axis a value lies: 0 at the start, 1 at the end. What is beyond an end lies at that end.
    pub fn fraction(&self, value: f64) -> f64 {
        let place = if self.log { value.log10() } else { value };
        ((place - self.ends.start) / (self.ends.end - self.ends.start)).clamp(0.0, 1.0)
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "between two pixels")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let length = f64::from(limit.1 - limit.0);
        limit.0 + (length * self.fraction(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|t| t.value).collect()
    }

    fn range(&self) -> Range<f64> {
        if self.log { 10f64.powf(self.ends.start)..10f64.powf(self.ends.end) } else { self.ends.clone() }
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|t| t.value == *value);
        tick.map_or_else(String::new, |t| t.label.clone())
    }
}

/// The smallest and the largest. `None`: no values, or they lie further apart than numbers reach.
fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let ends = values.into_iter().fold(None, |e, v| match e {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    });
    ends.filter(|(low, high): &(f64, f64)| (2.0 * (high - low)).is_finite() && (2.0 * low).is_finite())
}

/// Ticks for powers of ten from `range.start` to `range.end`: the densest familiar pattern that fits.
fn log_ticks(range: &Range<f64>, most: usize) -> Vec<Tick> {
    let values = if range.end - range.start < 0.6 {
        // Less than a factor of 4: round steps, as on a linear axis.
        let linear = 10f64.powf(range.start)..10f64.powf(range.end);
        linear_values(&linear, most).into_iter().map(|(v, _)| v).collect()
    } else {
        // On a short range the usual three in a decade would leave two or three ticks in all.
        let usual = decade_values(range, &[1, 2, 5], 1).len();
        let dense = (usual < 4).then_some(&[1, 2, 3, 5, 7][..]);
        dense
            .into_iter()
            .chain([&[1, 2, 5][..], &[1, 3], &[1]])
            .map(|mantissas| decade_values(range, mantissas, 1))
            .chain((2..).map(|every| decade_values(range, &[1], every)))
            .find(|v| v.len() <= most.max(1))
            .unwrap_or_default()
    };
    values.into_iter().map(|value| Tick { value, label: power_label(value) }).collect()
}

/// `mantissa × 10^k` inside the range for every `every`-th k.
#[expect(clippy::cast_possible_truncation, reason = "exponents of f64 fit")]
fn decade_values(range: &Range<f64>, mantissas: &[i32], every: i32) -> Vec<f64> {
    let (first, last) = (range.start.floor() as i32, range.end.ceil() as i32);
    (first..=last)
        .filter(|k| k.rem_euclid(every) == 0)
        .flat_map(|k| mantissas.iter().map(move |m| decimal(*m, k)))
        .filter(|v| range.contains(&v.log10()))
        .collect()
}

/// The f64 nearest to `mantissa × 10^exponent`, so that labels are not 0.30000000000000004.
fn decimal(mantissa: i32, exponent: i32) -> f64 {
    format!("{mantissa}e{exponent}").parse().unwrap_or(0.0)
}

/// Round values inside the range, each with the decimals its step needs.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a handful of ticks"
)]
fn linear_values(range: &Range<f64>, most: usize) -> Vec<(f64, usize)> {
    let rough = (range.end - range.start) / most.max(2) as f64;
    if !rough.is_normal() {
        // Between neighbours among the smallest numbers there is nothing to name.
        return Vec::new();
    }
    let power = rough.log10().floor() as i32;
    let step = [(1, power), (2, power), (5, power), (1, power + 1)]
        .into_iter()
        .map(|(m, k)| decimal(m, k))
        .find(|s| *s >= rough * (1.0 - 1e-9))
        .unwrap_or(rough);
    let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    let (first, last) = ((range.start / step).ceil() as i64, (range.end / step).floor() as i64);
    let exact = |i: i64| format!("{:.decimals$}", i as f64 * step).parse().unwrap_or(0.0);
    (first..=last).map(|i| (exact(i), decimals)).collect()
}

/// `0.05`, `20`, `5000`, `20k`, `3M`; far ends as `1e-6`.
pub(super) fn power_label(value: f64) -> String {
    match value {
        v if !(1e-4..1e9).contains(&v) => format!("{v:e}"),
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e4 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

/// A change in percent as an axis names it: `+5 %`, `−2.5 %`, `0`.
pub(super) fn percent_label(value: f64, decimals: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let sign = if value < 0.0 { "−" } else { "+" };
    format!("{sign}{:.decimals$}\u{a0}%", value.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::format::fixed;

    fn labels(axis: Option<Axis>) -> Vec<String> {
        axis.map(|a| a.ticks.into_iter().map(|t| t.label).collect()).unwrap_or_default()
    }

    #[test]
    fn log_ticks_are_round_and_few() {
        for (low, high, expected) in [
            (25.0, 124.0, "30 50 70 100"),
            (3.0, 400.0, "5 10 20 50 100 200 500"),
            (0.4, 9000.0, "1 10 100 1000 10k"),
            (1e-3, 1e9, "0.01 1 100 10k 1M 100M"),
            (10.0, 14.0, "9 10 11 12 13 14 15"),
            (85.4, 85.4, "80 85 90 95"),
        ] {
            assert_eq!(labels(Axis::log([low, high], 7)).join(" "), expected, "{low} to {high}");
        }
    }

    #[test]
    fn any_span_has_ticks_that_fit() {
        for decades in 1..40 {
            let high = 10f64.powf(f64::from(decades) / 2.0);
            for most in 3..9 {
                let n = labels(Axis::log([0.7, 0.7 * high], most)).len();
                assert!((1..=most + 1).contains(&n), "{decades} half decades, {most}: {n}");
            }
        }
    }

    #[test]
    fn linear_ticks_are_round_and_inside() {
        assert_eq!(
            labels(Axis::linear([-3.0, 7.0], 6, percent_label)).join(" "),
            "−2\u{a0}% 0 +2\u{a0}% +4\u{a0}% +6\u{a0}%"
        );
        assert_eq!(labels(Axis::linear([1.0, 1.0], 5, fixed)).join(" "), "0.6 0.8 1.0 1.2 1.4");
        assert_eq!(Axis::linear([], 5, fixed), None);
    }

    #[test]
    fn values_beyond_the_ends_lie_at_the_ends() {
        let axis = Axis::fixed(0.0..1.0, Vec::new());
        assert_eq!([-5.0, 0.5, 7.0].map(|v| axis.map(&v, (10, 110))), [10, 60, 110]);
    }
}
