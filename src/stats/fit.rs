//! Straight lines and power laws by ordinary least squares.
//!
//! R² is always `1 − SSE/SST` with SST about the mean of y: 0 says "no better than the mean".

use std::collections::BTreeMap;

use crate::stats::bootstrap::{self, SlopeBootstrap};
use crate::stats::gate::{self, Gate};
use crate::stats::interval::{Estimate, Interval};
use crate::stats::{InputError, LEVEL, logs, moments, paired, student, varied};

/// `y = intercept + slope·x`.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// How many points.
    pub n: usize,
    /// Change of y per unit of x; t interval with n−2 degrees of freedom.
    pub slope: Estimate,
    /// y at x = 0; t interval with n−2 degrees of freedom.
    pub intercept: Estimate,
    /// `1 − SSE/SST` about the mean of y.
    pub r2: f64,
    /// Residual standard deviation, `√(SSE/(n−2))`, in the unit of y.
    pub sigma: f64,
    /// y minus the line, in the order of the points.
    pub residuals: Vec<f64>,
    mean_x: f64,
    sum_squares_x: f64,
    critical: f64,
}

impl Line {
    /// The line's height at `x`.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.intercept.value + self.slope.value * x
    }

    /// Where the true line lies at `x`, at [`LEVEL`]; narrowest at the mean of the points.
    #[must_use]
    pub fn mean_band(&self, x: f64) -> Interval {
        self.band(x, 0.0)
    }

    /// Where one further point at `x` would lie, at [`LEVEL`].
    #[must_use]
    pub fn prediction_band(&self, x: f64) -> Interval {
        self.band(x, 1.0)
    }

    fn band(&self, x: f64, own_variance: f64) -> Interval {
        let leverage = 1.0 / self.n as f64 + (x - self.mean_x).powi(2) / self.sum_squares_x;
        Interval::around(self.at(x), self.critical * self.sigma * (own_variance + leverage).sqrt())
    }
}

/// Fits `y = intercept + slope·x`: the overhead-plus-compute form, and the core of [`power_law`].
///
/// # Errors
/// Fewer than 3 points, columns of different length, a value that is not finite, x or y constant.
pub fn line(x: &[f64], y: &[f64]) -> Result<Line, InputError> {
    paired(x, y, 3)?;
    varied("x", x)?;
    varied("y", y)?;
    let n = x.len();
    let (mean_x, mean_y) = (moments::mean(x), moments::mean(y));
    let points = || x.iter().zip(y).map(|(x, y)| (x - mean_x, y - mean_y));
    let sum_squares_x: f64 = points().map(|(dx, _)| dx * dx).sum();
    let total: f64 = points().map(|(_, dy)| dy * dy).sum();
    let slope = points().map(|(dx, dy)| dx * dy).sum::<f64>() / sum_squares_x;
    let residuals: Vec<f64> = points().map(|(dx, dy)| dy - slope * dx).collect();
    let unexplained: f64 = residuals.iter().map(|r| r * r).sum();

    let df = (n - 2) as f64;
    let sigma = (unexplained / df).sqrt();
    let slope_error = sigma / sum_squares_x.sqrt();
    let intercept_error = sigma * (1.0 / n as f64 + mean_x * mean_x / sum_squares_x).sqrt();
    let too_few = InputError::TooFew { n, needed: 3 };
    let critical = student::critical(LEVEL, df).ok_or(too_few.clone())?;
    Ok(Line {
        n,
        slope: Estimate::with_t(slope, slope_error, df).ok_or(too_few.clone())?,
        intercept: Estimate::with_t(mean_y - slope * mean_x, intercept_error, df).ok_or(too_few)?,
        r2: 1.0 - unexplained / total,
        sigma,
        residuals,
        mean_x,
        sum_squares_x,
        critical,
    })
}

/// The slope that several groups of points share, each with a level of its own; t interval with n − groups − 1 degrees of
/// freedom. `group` says to which group a point belongs.
///
/// # Errors
/// Fewer than 2 more points than groups, columns of different length, a value that is not finite, x constant within
/// every group.
pub fn common_slope(x: &[f64], y: &[f64], group: &[usize]) -> Result<Estimate, InputError> {
    paired(x, y, 3)?;
    if group.len() != x.len() {
        return Err(InputError::Unpaired { x: x.len(), y: group.len() });
    }
    let mut sums: BTreeMap<usize, (f64, f64, f64)> = BTreeMap::new();
    for ((x, y), group) in x.iter().zip(y).zip(group) {
        let (n, sum_x, sum_y) = sums.entry(*group).or_default();
        (*n, *sum_x, *sum_y) = (*n + 1.0, *sum_x + x, *sum_y + y);
    }
    let needed = sums.len() + 2;
    if x.len() < needed {
        return Err(InputError::TooFew { n: x.len(), needed });
    }
    let deviation = |((x, y), group): ((&f64, &f64), &usize)| {
        let (n, sum_x, sum_y) = sums.get(group).copied().unwrap_or((1.0, *x, *y));
        (x - sum_x / n, y - sum_y / n)
    };
    let points: Vec<(f64, f64)> = x.iter().zip(y).zip(group).map(deviation).collect();
    let largest = x.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    if points.iter().all(|(dx, _)| dx.abs() <= 1e-12 * largest) {
        return Err(InputError::Constant { axis: "x" });
    }
    let sum_squares_x: f64 = points.iter().map(|(dx, _)| dx * dx).sum();
    let slope = points.iter().map(|(dx, dy)| dx * dy).sum::<f64>() / sum_squares_x;
    let unexplained: f64 = points.iter().map(|(dx, dy)| (dy - slope * dx).powi(2)).sum();
    let df = (x.len() - sums.len() - 1) as f64;
    Estimate::with_t(slope, (unexplained / df / sum_squares_x).sqrt(), df)
        .ok_or(InputError::TooFew { n: x.len(), needed })
}

/// `y = e^intercept · x^slope`, fitted as a line through the logarithms.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerLaw {
    /// `ln y = intercept + slope·ln x`; residuals and sigma are of ln y.
    pub logs: Line,
}

impl PowerLaw {
    /// The exponent: 1 is proportional, 0 is no dependence.
    #[must_use]
    pub fn slope(&self) -> Estimate {
        self.logs.slope
    }

    /// ln y at x = 1.
    #[must_use]
    pub fn intercept_ln(&self) -> Estimate {
        self.logs.intercept
    }

    /// R² of the logarithms.
    #[must_use]
    pub fn r2(&self) -> f64 {
        self.logs.r2
    }

    /// y on the curve at `x`, in the unit of y. `None`: `x` is not positive.
    #[must_use]
    pub fn at(&self, x: f64) -> Option<f64> {
        (x > 0.0).then(|| self.logs.at(x.ln()).exp())
    }

    /// Where the true curve lies at `x`, at [`LEVEL`], in the unit of y. `None`: `x` is not positive.
    #[must_use]
    pub fn mean_band(&self, x: f64) -> Option<Interval> {
        (x > 0.0).then(|| self.logs.mean_band(x.ln()).map(f64::exp))
    }

    /// Where one further model would lie at `x`, at [`LEVEL`]. `None`: `x` is not positive.
    #[must_use]
    pub fn prediction_band(&self, x: f64) -> Option<Interval> {
        (x > 0.0).then(|| self.logs.prediction_band(x.ln()).map(f64::exp))
    }
}

/// Fits a power law.
///
/// ```
/// let law = phasebench::stats::fit::power_law(&[1.0, 4.0, 9.0], &[2.0, 4.1, 6.0])?;
/// assert!((law.slope().value - 0.5).abs() < 0.02);
/// # Ok::<(), phasebench::stats::InputError>(())
/// ```
///
/// # Errors
/// As [`line()`], and values that are not positive.
pub fn power_law(x: &[f64], y: &[f64]) -> Result<PowerLaw, InputError> {
    paired(x, y, 3)?;
    Ok(PowerLaw { logs: line(&logs("x", x, 3)?, &logs("y", y, 3)?)? })
}

/// A fit with both intervals of its slope, and whether it may be acted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged<F> {
    /// The fit; its slope carries the t interval.
    pub fit: F,
    /// The second interval: pairs bootstrap over models.
    pub bootstrap: SlopeBootstrap,
    /// The verdict from n, R² and both intervals.
    pub gate: Gate,
}

/// A power law, judged.
pub type ScalingFit = Judged<PowerLaw>;
/// A line, judged.
pub type AffineFit = Judged<Line>;

/// Fits a power law, bootstraps its slope and applies the actionable gate.
///
/// # Errors
/// As [`power_law`].
pub fn scaling(x: &[f64], y: &[f64]) -> Result<ScalingFit, InputError> {
    let fit = power_law(x, y)?;
    let bootstrap = bootstrap::slope(&logs("x", x, 3)?, &logs("y", y, 3)?, LEVEL)?;
    let gate = verdict(&fit.logs, &bootstrap);
    Ok(Judged { fit, bootstrap, gate })
}

/// Fits `y = a + b·x`, bootstraps b and applies the actionable gate; where it is not passed, a share of
/// overhead (`a` ÷ y) must not be shown.
///
/// # Errors
/// As [`line()`].
pub fn affine(x: &[f64], y: &[f64]) -> Result<AffineFit, InputError> {
    let fit = line(x, y)?;
    let bootstrap = bootstrap::slope(x, y, LEVEL)?;
    let gate = verdict(&fit, &bootstrap);
    Ok(Judged { fit, bootstrap, gate })
}

fn verdict(line: &Line, bootstrap: &SlopeBootstrap) -> Gate {
    gate::judge(line.n, line.r2, &[("t", line.slope.interval), ("bootstrap", bootstrap.interval)])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_exact_power_law_is_recovered() {
        let x = [1.0_f64, 2.0, 4.0, 8.0];
        let y = x.map(|x| 3.0 * x.powf(0.7));
        let law = power_law(&x, &y).unwrap();
        assert!((law.slope().value - 0.7).abs() < 1e-12);
        assert!((law.at(16.0).unwrap() / (3.0 * 16_f64.powf(0.7)) - 1.0).abs() < 1e-12);
        assert!(law.r2() > 1.0 - 1e-12);
        assert_eq!(law.at(0.0), None);
    }

    #[test]
    fn bands_are_narrowest_at_the_mean_and_prediction_is_wider() {
        let fit = line(&[0.0, 1.0, 2.0, 3.0], &[0.1, 0.9, 2.2, 2.8]).unwrap();
        let middle = fit.mean_band(1.5);
        assert!(middle.width() < fit.mean_band(0.0).width());
        assert!(middle.width() < fit.prediction_band(1.5).width());
        assert!((fit.mean_band(0.0).low - fit.intercept.interval.low).abs() < 1e-12);
    }

    /// Two groups with levels far apart: a line through all of them would see only the levels.
    #[test]
    fn a_common_slope_is_that_within_the_groups() {
        let x = [1.0, 2.0, 3.0, 11.0, 12.0, 13.0];
        let y = [1.1, 2.0, 2.9, -98.9, -98.0, -97.1];
        let groups = [0, 0, 0, 7, 7, 7];
        let slope = common_slope(&x, &y, &groups).unwrap();
        assert!((slope.value - 0.9).abs() < 1e-12, "{slope:?}");
        assert!(line(&x, &y).unwrap().slope.value < -5.0);
        let noisy = [1.0, 2.5, 2.6, 4.4];
        let (alone, fit) = (common_slope(&x[..4], &noisy, &[3; 4]).unwrap(), line(&x[..4], &noisy).unwrap());
        assert!((alone.value - fit.slope.value).abs() < 1e-12);
        assert!((alone.interval.low - fit.slope.interval.low).abs() < 1e-12);
        for ((x, y, groups), message) in [
            ((&[1.0, 1.0, 2.0, 2.0][..], &[1.0, 2.0, 3.0, 4.0][..], &[0, 0, 1, 1][..]), "all values of x are equal"),
            ((&[1.0, 2.0, 3.0][..], &[1.0, 2.0, 3.0][..], &[0, 0, 1][..]), "3 points, at least 4 are needed"),
        ] {
            assert_eq!(common_slope(x, y, groups).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn unusable_input_is_refused_with_the_reason() {
        type Columns = (&'static [f64], &'static [f64]);
        let table: &[(Columns, &str)] = &[
            ((&[1.0, 2.0], &[1.0, 2.0]), "2 points, at least 3 are needed"),
            ((&[], &[]), "0 points, at least 3 are needed"),
            ((&[1.0, 2.0, 3.0], &[1.0, 2.0]), "3 values of x but 2 of y"),
            ((&[2.0, 2.0, 2.0], &[1.0, 2.0, 3.0]), "all values of x are equal"),
            ((&[1.0, 2.0, 3.0], &[5.0, 5.0, 5.0]), "all values of y are equal"),
            ((&[1.0, 2.0, 0.0], &[1.0, 2.0, 3.0]), "x[2] is 0, a logarithm needs positive values"),
            ((&[1.0, 2.0, 3.0], &[1.0, -2.0, 3.0]), "y[1] is -2, a logarithm needs positive values"),
            ((&[1.0, 2.0, 3.0], &[1.0, f64::NAN, 3.0]), "y[1] is NaN, only finite values up to 1e140 can be used"),
        ];
        for ((x, y), message) in table {
            assert_eq!(scaling(x, y).unwrap_err().to_string(), *message);
        }
    }

    #[test]
    fn three_good_points_are_still_too_few_to_act_on() {
        let fit = scaling(&[1.0, 10.0, 100.0], &[1.0, 5.1, 24.9]).unwrap();
        assert!(!fit.gate.is_actionable(), "{}", fit.gate);
    }
}
