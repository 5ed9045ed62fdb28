//! `f64` in, estimates out; knows nothing of ours.
//!
//! - [`summary`] describes one sample; [`series`] one in call order (autocorrelation, drift).
//! - [`location`] estimates a cell's latency with an interval and decides when enough calls were made.
//! - [`fit`] draws lines and power laws through models, [`multivariate`] with two predictors,
//!   [`rank`] by order alone; [`bootstrap`] gives the second interval and [`gate`] the verdict.
//! - [`compare`] holds the classical tests between groups.
//!
//! Nothing here panics or returns NaN: a sample that cannot be used gives an [`InputError`], a figure
//! that a usable sample does not define is `None`.

pub mod bootstrap;
pub mod compare;
pub mod fit;
pub mod gate;
pub mod interval;
pub mod location;
pub mod multivariate;
pub mod rank;
pub mod series;
#[cfg(test)]
mod simulation;
pub mod student;
pub mod summary;

/// Largest magnitude accepted: its square, summed over any sample, is still finite.
const LARGEST: f64 = 1e140;

/// Confidence level of every interval, unless a function takes its own.
pub const LEVEL: f64 = 0.95;

/// Why a sample cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InputError {
    /// Fewer values than the method has unknowns for.
    #[error("{n} points, at least {needed} are needed")]
    TooFew {
        /// How many there are.
        n: usize,
        /// How many the method needs.
        needed: usize,
    },
    /// Two columns that should pair do not.
    #[error("{x} values of x but {y} of y")]
    Unpaired {
        /// Length of x.
        x: usize,
        /// Length of y.
        y: usize,
    },
    /// A NaN, an infinity, or a value so large that its square would be one.
    #[error("{axis}[{index}] is {}, only finite values up to 1e140 can be used", brief(*value))]
    NotFinite {
        /// The column's name.
        axis: &'static str,
        /// Position, from 0.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// Zero or less where a logarithm is taken.
    #[error("{axis}[{index}] is {}, a logarithm needs positive values", brief(*value))]
    NotPositive {
        /// The column's name.
        axis: &'static str,
        /// Position, from 0.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A column without variation: the figure asked for is not defined.
    #[error("all values of {axis} are equal")]
    Constant {
        /// The column's name.
        axis: &'static str,
    },
    /// One predictor is a linear function of the other.
    #[error("the predictors are collinear, their effects cannot be told apart")]
    Collinear,
    /// A setting outside its range.
    #[error("{what} is {value}, allowed: {allowed}")]
    Setting {
        /// The setting's name.
        what: &'static str,
        /// The value found.
        value: f64,
        /// The range.
        allowed: &'static str,
    },
}

/// A value as it is in a message: never hundreds of digits.
#[must_use]
pub fn brief(value: f64) -> String {
    let plain = value == 0.0 || !value.is_finite() || (1e-4..1e9).contains(&value.abs());
    if plain { format!("{value}") } else { format!("{value:e}") }
}

/// Checks that `values` holds at least `needed` values, all finite and not beyond [`LARGEST`].
fn finite(axis: &'static str, values: &[f64], needed: usize) -> Result<(), InputError> {
    if values.len() < needed {
        return Err(InputError::TooFew { n: values.len(), needed });
    }
    match values.iter().position(|v| v.is_nan() || v.abs() > LARGEST) {
        Some(index) => Err(InputError::NotFinite { axis, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Natural logarithms of finite, positive values.
fn logs(axis: &'static str, values: &[f64], needed: usize) -> Result<Vec<f64>, InputError> {
    finite(axis, values, needed)?;
    match values.iter().position(|v| *v <= 0.0) {
        Some(index) => Err(InputError::NotPositive { axis, index, value: values[index] }),
        None => Ok(values.iter().map(|v| v.ln()).collect()),
    }
}

/// Checks that two columns pair and have enough finite values.
fn paired(x: &[f64], y: &[f64], needed: usize) -> Result<(), InputError> {
    if x.len() != y.len() {
        return Err(InputError::Unpaired { x: x.len(), y: y.len() });
    }
    finite("x", x, needed)?;
    finite("y", y, needed)
}

/// Refuses a column whose values differ by no more than rounding does.
fn varied(axis: &'static str, values: &[f64]) -> Result<(), InputError> {
    let (low, high) = summary::extremes(values);
    let rounding = 1e-12 * low.abs().max(high.abs()).max(1.0 / LARGEST);
    if high - low > rounding { Ok(()) } else { Err(InputError::Constant { axis }) }
}

/// Checks a confidence level.
fn level_in_range(level: f64) -> Result<(), InputError> {
    if level > 0.0 && level < 1.0 {
        Ok(())
    } else {
        Err(InputError::Setting { what: "confidence level", value: level, allowed: "between 0 and 1" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::interval::Interval;

    /// Anything a file may hold: ordinary latencies, ties, zeros, extremes, NaN.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => 0.1..1000.0,
            2 => (1..4_i32).prop_map(f64::from),
            1 => any::<f64>(),
            1 => prop::sample::select(vec![0.0, f64::NAN, f64::INFINITY, 1e-300, 1e140, 1.0 + 1e-15]),
        ]
    }

    fn columns() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        prop::collection::vec((value(), value()), 0..8).prop_map(|rows| rows.into_iter().unzip())
    }

    fn numbers(interval: Interval) -> bool {
        !interval.low.is_nan() && !interval.high.is_nan() && interval.low <= interval.high
    }

    proptest! {
        #[test]
        fn no_input_gives_nan_or_a_panic((x, y) in columns()) {
            for judged in [fit::scaling(&x, &y).map(|s| (s.fit.logs, s.bootstrap)),
                           fit::affine(&x, &y).map(|a| (a.fit, a.bootstrap))].into_iter().flatten() {
                let (line, bootstrap) = judged;
                prop_assert!(numbers(line.slope.interval) && numbers(line.intercept.interval), "{line:?}");
                prop_assert!(numbers(bootstrap.interval), "{bootstrap:?}");
                prop_assert!(!line.r2.is_nan() && !line.sigma.is_nan(), "{line:?}");
            }
            if let Ok(plane) = multivariate::power_law(&x, &y, &x.iter().rev().copied().collect::<Vec<_>>()) {
                prop_assert!(numbers(plane.first.interval) && numbers(plane.second.interval), "{plane:?}");
                prop_assert!(!plane.r2.is_nan() && plane.condition_number >= 1.0, "{plane:?}");
            }
            if let Ok(found) = rank::spearman(&x, &y) {
                prop_assert!(found.rho.abs() <= 1.0 && (0.0..=1.0).contains(&found.p_t), "{found:?}");
                prop_assert!(found.p_exact.is_some_and(|p| p > 0.0 && p <= 1.0), "{found:?}");
            }
            if let Ok(drift) = series::drift(&x) {
                prop_assert!((0.0..=1.0).contains(&drift.p) && !drift.relative_change.is_nan(), "{drift:?}");
            }
            if let Ok(location) = location::adaptive_location(&x, LEVEL) {
                prop_assert!(numbers(location.interval), "{location:?}");
                prop_assert!(!location.relative_half_width.is_nan(), "{location:?}");
            }
            if let Ok(summary) = summary::Summary::of(&x) {
                prop_assert!(summary.min <= summary.median && summary.median <= summary.max, "{summary:?}");
                prop_assert!(summary.sd.is_none_or(|sd| sd >= 0.0), "{summary:?}");
            }
        }
    }
}
