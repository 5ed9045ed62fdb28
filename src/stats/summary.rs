//! What one sample looks like.

use crate::stats::interval::Interval;
use crate::stats::moments::{mean, sd};
use crate::stats::{InputError, finite};

/// Fewest values for a 95th percentile: below, it is little more than the maximum.
pub const P95_NEEDS: usize = 20;
/// Fewest values for a 99th percentile.
pub const P99_NEEDS: usize = 100;

/// One sample described. Everything but `n` and `outliers` is in the unit of the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many values.
    pub n: usize,
    /// Middle value.
    pub median: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n−1). `None`: one value.
    pub sd: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// 95th percentile. `None`: fewer than [`P95_NEEDS`] values.
    pub p95: Option<f64>,
    /// 99th percentile. `None`: fewer than [`P99_NEEDS`] values.
    pub p99: Option<f64>,
    /// Geometric mean. `None`: a value is 0 or negative.
    pub geometric_mean: Option<f64>,
    /// Coefficient of variation, sd ÷ mean, a fraction. `None`: one value, or a mean of 0 or less.
    pub cv: Option<f64>,
    /// Values outside the Tukey fences: flagged, never removed. `None`: fewer than 4 values.
    pub outliers: Option<usize>,
}

impl Summary {
    /// Describes `values`, in any order.
    ///
    /// # Errors
    /// No value, or one that is not finite.
    pub fn of(values: &[f64]) -> Result<Self, InputError> {
        finite("values", values, 1)?;
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len();
        let (mean, sd) = (mean(&sorted), sd(&sorted));
        let at = |p: f64| quantile_of_sorted(&sorted, p);
        Ok(Self {
            n,
            median: at(0.5),
            mean,
            sd,
            min: sorted[0],
            max: sorted[n - 1],
            p95: (n >= P95_NEEDS).then(|| at(0.95)),
            p99: (n >= P99_NEEDS).then(|| at(0.99)),
            geometric_mean: geometric_mean(&sorted),
            cv: sd.filter(|_| mean > 0.0).map(|sd| sd / mean),
            outliers: tukey_fences(&sorted).map(|fences| sorted.iter().filter(|v| !fences.contains(**v)).count()),
        })
    }
}

/// Where Tukey's rule begins to call a value an outlier: 1.5 interquartile ranges outside the quartiles.
///
/// `None`: fewer than 4 values, or one not finite.
#[must_use]
pub fn tukey_fences(values: &[f64]) -> Option<Interval> {
    let (low, high) = (quantile(values, 0.25)?, quantile(values, 0.75)?);
    let reach = 1.5 * (high - low);
    (values.len() >= 4).then_some(Interval { low: low - reach, high: high + reach })
}

/// Quantile `p` of unsorted values, linear between order statistics (type 7, NumPy's default).
///
/// `None`: no value, one not finite, or `p` outside 0 to 1.
#[must_use]
pub fn quantile(values: &[f64], p: f64) -> Option<f64> {
    quantiles(values, [p]).map(|[quantile]| quantile)
}

/// The same for several `p`, sorted once.
///
/// `None`: as [`quantile`].
#[must_use]
pub fn quantiles<const N: usize>(values: &[f64], p: [f64; N]) -> Option<[f64; N]> {
    finite("values", values, 1).ok()?;
    if !p.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some(p.map(|p| quantile_of_sorted(&sorted, p)))
}

/// Median of unsorted values. `None`: no value, or one not finite.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Geometric mean. `None`: no value, one not finite, or one not positive.
///
/// Throughput over scenarios is `geometric_mean(tokens) / geometric_mean(seconds)`.
///
/// ```
/// let mean = phasebench_ground::stats::summary::geometric_mean(&[1.0, 4.0]);
/// assert_eq!(mean, Some(2.0));
/// ```
#[must_use]
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logs = crate::stats::logs("values", values, 1).ok()?;
    Some(mean(&logs).exp())
}

/// Type 7 quantile; the caller guarantees at least one value, sorted, and `p` within 0 to 1.
fn quantile_of_sorted(sorted: &[f64], p: f64) -> f64 {
    let position = p * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_no_spread() {
        let s = Summary::of(&[3.0]).unwrap();
        assert_eq!((s.median, s.mean, s.sd, s.cv, s.p95, s.outliers), (3.0, 3.0, None, None, None, None));
    }

    #[test]
    fn percentiles_appear_only_with_enough_values() {
        for (n, p95, p99) in [(19, false, false), (20, true, false), (99, true, false), (100, true, true)] {
            let values: Vec<f64> = (0..n).map(f64::from).collect();
            let s = Summary::of(&values).unwrap();
            assert_eq!((s.p95.is_some(), s.p99.is_some()), (p95, p99), "n = {n}");
        }
    }

    #[test]
    fn an_outlier_is_counted_and_kept() {
        let s = Summary::of(&[1.0, 1.1, 0.9, 1.0, 1.05, 9.0]).unwrap();
        assert_eq!((s.outliers, s.max), (Some(1), 9.0));
    }

    #[test]
    fn bad_values_are_named() {
        assert_eq!(Summary::of(&[]), Err(InputError::TooFew { n: 0, needed: 1 }));
        let message = Summary::of(&[1.0, f64::INFINITY]).unwrap_err().to_string();
        assert_eq!(message, "values[1] is inf, only finite values up to 1e140 can be used");
        assert_eq!(geometric_mean(&[1.0, 0.0]), None);
        assert_eq!(quantile(&[1.0], 1.5), None);
    }
}
