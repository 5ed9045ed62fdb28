//! Values in call order: how much each repeats the one before, and whether they drift.
//!
//! Calls of one process are autocorrelated, so n of them say less than n independent ones. The model is
//! AR(1): the correlation of two calls `k` apart is `rho^k`.

use crate::stats::{InputError, logs, moments, student, varied};

/// Lag-1 autocorrelation assumed where a series is too short to tell; typical of repeated engine calls.
pub const PRIOR_RHO: f64 = 0.3;
/// How many calls' worth of evidence [`PRIOR_RHO`] counts for.
pub const PRIOR_WEIGHT: f64 = 10.0;
/// A series of this length or less says nothing about its autocorrelation.
const UNINFORMATIVE: usize = 6;
/// Highest autocorrelation assumed; above it a series never has enough calls.
pub(in crate::stats) const MAX_RHO: f64 = 0.95;

/// Lag-1 autocorrelation about the mean, −1 to 1. Biased towards −1/n in short series.
///
/// `None`: fewer than 3 values, one not finite, or all equal.
#[must_use]
pub fn autocorrelation(values: &[f64]) -> Option<f64> {
    crate::stats::finite("values", values, 3).ok()?;
    varied("values", values).ok()?;
    let mean = moments::mean(values);
    let deviations: Vec<f64> = values.iter().map(|v| v - mean).collect();
    Some(lag_1(&deviations))
}

/// Number of independent values that would fix the mean as well as these do.
///
/// The autocorrelation is corrected for its small-sample bias, never taken below 0, and drawn towards
/// [`PRIOR_RHO`]. `None`: as [`autocorrelation`].
#[must_use]
pub fn effective_n(values: &[f64]) -> Option<f64> {
    let rho = persistence(autocorrelation(values)?, values.len(), 1);
    Some(values.len() as f64 / mean_inflation(values.len(), rho))
}

/// Lag-1 autocorrelation of values that sum to 0.
fn lag_1(deviations: &[f64]) -> f64 {
    let squares: f64 = deviations.iter().map(|d| d * d).sum();
    deviations.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / squares
}

/// The autocorrelation to reckon with, from the one found (`r`) in `n` residuals of a fit with `fitted`
/// parameters.
///
/// In expectation r falls short of rho by about `(fitted + 4·rho)/n` (Marriott and Pope 1954, Kendall 1954).
/// The corrected value is still a guess at small n, hence the prior.
pub(in crate::stats) fn persistence(r: f64, n: usize, fitted: usize) -> f64 {
    if n <= UNINFORMATIVE {
        return PRIOR_RHO;
    }
    let n = n as f64;
    let corrected = ((n * r + fitted as f64) / (n - 4.0)).clamp(0.0, MAX_RHO);
    (n * corrected + PRIOR_WEIGHT * PRIOR_RHO) / (n + PRIOR_WEIGHT)
}

/// The autocorrelation to reckon with in every one of several series that share it, from the one found in each about its mean
/// and its length: each corrected as in [`persistence`] and weighed by its length, one prior for all. What
/// [`super::moderated`] does with the values themselves is no better here: intervals of a cost at 8 calls a cell then cover 92.9 %.
pub(in crate::stats) fn pooled_persistence(found: impl Iterator<Item = (f64, usize)>) -> f64 {
    let (mut sum, mut values) = (0.0, 0.0);
    for (r, n) in found.filter(|(_, n)| *n > UNINFORMATIVE) {
        let n = n as f64;
        sum += n * (n * r + 1.0) / (n - 4.0);
        values += n;
    }
    let corrected = if values > 0.0 { (sum / values).clamp(0.0, MAX_RHO) } else { 0.0 };
    (values * corrected + PRIOR_WEIGHT * PRIOR_RHO) / (values + PRIOR_WEIGHT)
}

/// Variance of the mean of `n` AR(1) values over that of independent ones.
pub(in crate::stats) fn mean_inflation(n: usize, rho: f64) -> f64 {
    quadratic_form(std::iter::repeat_n(1.0, n), rho) / n as f64
}

/// Variance of the mean of `n` AR(1) values over that of one.
pub(in crate::stats) fn variance_of_mean(n: usize, rho: f64) -> f64 {
    mean_inflation(n, rho) / n as f64
}

/// `Σᵢⱼ aᵢ·aⱼ·rho^|i−j|`, the variance of `Σ aᵢ·xᵢ` for AR(1) x of unit variance.
fn quadratic_form(weights: impl IntoIterator<Item = f64>, rho: f64) -> f64 {
    let (mut sum, mut earlier) = (0.0, 0.0);
    for weight in weights {
        sum += weight * (weight + 2.0 * earlier);
        earlier = rho * (earlier + weight);
    }
    sum
}

/// Trend of a latency over call order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// How many calls.
    pub n: usize,
    /// Fitted change from the first call to the last, a fraction: 0.05 is 5 % slower at the end.
    pub relative_change: f64,
    /// Two-sided p of no trend, corrected for autocorrelation.
    pub p: f64,
}

/// Tests positive values in call order for a steady trend: a line through their logarithms, its standard
/// error and degrees of freedom corrected for AR(1) residuals.
///
/// # Errors
/// Fewer than 5 values, one not finite or not positive, all equal.
pub fn drift(values: &[f64]) -> Result<Drift, InputError> {
    let y = logs("values", values, 5)?;
    varied("values", &y)?;
    let n = y.len();
    let middle = (n - 1) as f64 / 2.0;
    let order: Vec<f64> = (0..n).map(|i| i as f64 - middle).collect();
    let order_squares: f64 = order.iter().map(|x| x * x).sum();
    let mean = moments::mean(&y);
    let slope = order.iter().zip(&y).map(|(x, y)| x * (y - mean)).sum::<f64>() / order_squares;
    let residuals: Vec<f64> = order.iter().zip(&y).map(|(x, y)| y - mean - slope * x).collect();
    let unexplained: f64 = residuals.iter().map(|r| r * r).sum();
    let relative_change = (slope * (n - 1) as f64).exp_m1();
    if unexplained <= 1e-24 * order_squares * slope * slope {
        return Ok(Drift { n, relative_change, p: 0.0 });
    }

    let rho = persistence(lag_1(&residuals), n, 2);
    let slope_inflation = quadratic_form(order, rho) / order_squares;
    // What AR(1) residuals keep of their variance once mean and slope are taken out.
    let kept = n as f64 - mean_inflation(n, rho) - slope_inflation;
    let variance = unexplained / kept * slope_inflation / order_squares;
    let df = (n as f64 / slope_inflation - 2.0).max(1.0);
    let p = student::two_sided_p(slope / variance.sqrt(), df);
    Ok(Drift { n, relative_change, p: p.ok_or(InputError::TooFew { n, needed: 5 })? })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_quadratic_form_is_the_double_sum() {
        let (weights, rho) = ([1.0, -0.5, 2.0, 0.25], 0.6_f64);
        let mut sum = 0.0;
        for (i, a) in weights.iter().enumerate() {
            for (j, b) in weights.iter().enumerate() {
                sum += a * b * rho.powi(i.abs_diff(j) as i32);
            }
        }
        assert!((quadratic_form(weights, rho) - sum).abs() < 1e-12);
        assert!((mean_inflation(9, 0.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn repeating_values_count_for_less() {
        let slow: Vec<f64> = (0..60).map(|i| f64::from(i / 10 % 2) + f64::from(i % 3) * 0.01).collect();
        let quick: Vec<f64> = (0..60).map(|i| f64::from(i % 2)).collect();
        assert!(autocorrelation(&slow).unwrap() > 0.7 && autocorrelation(&quick).unwrap() < -0.9);
        assert!(effective_n(&slow).unwrap() < 15.0);
        assert!(effective_n(&quick).unwrap() > 50.0);
        assert_eq!(autocorrelation(&[2.0; 9]), None);
        assert_eq!(effective_n(&[1.0, f64::NAN, 2.0]), None);
    }

    #[test]
    fn a_steady_slowdown_is_found_and_sized() {
        let noise = [0.3, -0.8, 0.5, 0.1, -0.4, 0.9, -0.6, 0.2, -0.1, 0.4, -0.5, 0.0];
        let rising: Vec<f64> = noise.iter().enumerate().map(|(i, e)| 10.0 * (0.01 * (i as f64 + e)).exp()).collect();
        let found = drift(&rising).unwrap();
        assert!((found.relative_change - 0.116).abs() < 0.01, "{found:?}");
        assert!(found.p < 0.001, "{found:?}");
        let flat: Vec<f64> = noise.iter().map(|e| 10.0 + 0.1 * e).collect();
        assert!(drift(&flat).unwrap().p > 0.3);
        assert!(drift(&[3.0; 8]).is_err());
        assert_eq!(drift(&[1.0, 2.0, 4.0, 8.0, 16.0]).unwrap().p, 0.0);
    }
}
