//! Straight lines and power laws by ordinary least squares.
//!
//! R² is always `1 − SSE/SST` with SST about the mean of y: 0 says "no better than the mean".

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::stats::bootstrap::{self, SlopeBootstrap};
use crate::stats::gate::{self, Gate};
use crate::stats::interval::{Estimate, Interval};
use crate::stats::measured::{MeasuredPoints, PointError};
use crate::stats::{InputError, LEVEL, logs, moments, paired, student, varied};

/// `y = intercept + slope·x`.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// How many points.
    pub n: usize,
    /// Change of y per unit of x; t interval with n−2 degrees of freedom, or see [`measured_line`].
    pub slope: Estimate,
    /// y at x = 0; interval as that of the slope.
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
    /// `None`: how well points were measured is not known.
    measured: Option<MeasuredPoints>,
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

    /// Standard deviation of the models about the line beyond what the points' own errors explain, in the unit of y.
    /// `None`: those are not known, or 0.
    #[must_use]
    pub fn scatter(&self) -> Option<f64> {
        self.measured.as_ref().map(MeasuredPoints::scatter)
    }

    fn band(&self, x: f64, own_variance: f64) -> Interval {
        if let Some(points) = &self.measured {
            return points.height(x, self.at(x), own_variance * self.sigma.powi(2)).interval;
        }
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
        measured: None,
    })
}

/// [`line()`] through points of which it is known how well each was measured.
///
/// The line is the same. Its intervals hold the points' own errors beside the scatter of the models, see `MeasuredPoints`;
/// they are never narrower than those errors make them, however well the points happen to lie on a line. Without errors,
/// and where all are 0, they are those of [`line()`].
///
/// # Errors
/// As [`line()`], and errors that do not pair with the points, are negative or have no degrees of freedom.
pub fn measured_line(x: &[f64], y: &[f64], errors: Option<&[PointError]>) -> Result<Line, InputError> {
    let line = line(x, y)?;
    let Some(errors) = errors else { return Ok(line) };
    let Some(points) = MeasuredPoints::of(x, &line.residuals, errors)? else { return Ok(line) };
    Ok(Line {
        slope: points.slope(line.slope.value),
        intercept: points.height(0.0, line.intercept.value, 0.0),
        measured: Some(points),
        ..line
    })
}

/// `y = intercept + slope·x` by relative deviations, so that a small y counts as much as a large one: as in a power law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeLine {
    /// y at x = 0; t interval with n−2 degrees of freedom.
    pub intercept: Estimate,
    /// Change of y per unit of x; interval as that of the intercept.
    pub slope: Estimate,
    /// `1 − SSE/SST` of ln y against the logarithm of the line: what a power law's R² may be held against. `None`: the line
    /// is not positive at a point.
    pub r2_ln: Option<f64>,
}

/// Fits a line with the least `Σ((intercept + slope·x − y) ÷ y)²`.
///
/// # Errors
/// As [`line()`], and y that are not positive.
pub fn relative_line(x: &[f64], y: &[f64]) -> Result<RelativeLine, InputError> {
    paired(x, y, 3)?;
    varied("x", x)?;
    varied("y", y)?;
    let log_y = logs("y", y, 3)?;
    let weights: Vec<f64> = y.iter().map(|y| 1.0 / (y * y)).collect();
    let weighted = |values: &[f64]| weights.iter().zip(values).map(|(weight, value)| weight * value).sum::<f64>();
    let sum_weights: f64 = weights.iter().sum();
    let (mean_x, mean_y) = (weighted(x) / sum_weights, weighted(y) / sum_weights);
    let points: Vec<(f64, f64, f64)> =
        weights.iter().zip(x).zip(y).map(|((w, x), y)| (*w, x - mean_x, y - mean_y)).collect();
    let sum_squares_x: f64 = points.iter().map(|(w, dx, _)| w * dx * dx).sum();
    let slope = points.iter().map(|(w, dx, dy)| w * dx * dy).sum::<f64>() / sum_squares_x;
    let intercept = mean_y - slope * mean_x;
    let df = (x.len() - 2) as f64;
    let unexplained: f64 = points.iter().map(|(w, dx, dy)| w * (dy - slope * dx).powi(2)).sum();
    let sigma = (unexplained / df).sqrt();
    let intercept_error = sigma * (1.0 / sum_weights + mean_x * mean_x / sum_squares_x).sqrt();
    let too_few = InputError::TooFew { n: x.len(), needed: 3 };
    Ok(RelativeLine {
        intercept: Estimate::with_t(intercept, intercept_error, df).ok_or(too_few.clone())?,
        slope: Estimate::with_t(slope, sigma / sum_squares_x.sqrt(), df).ok_or(too_few)?,
        r2_ln: r2_of_logarithms(&log_y, x.iter().map(|x| intercept + slope * x)),
    })
}

/// `None`: what is fitted is not positive everywhere.
fn r2_of_logarithms(log_y: &[f64], fitted: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Option<Vec<f64>> = fitted.map(|fitted| (fitted > 0.0).then(|| fitted.ln())).collect();
    let mean = moments::mean(log_y);
    let total: f64 = log_y.iter().map(|log| (log - mean).powi(2)).sum();
    let unexplained: f64 = log_y.iter().zip(logs?).map(|(log, fitted)| (log - fitted).powi(2)).sum();
    Some(1.0 - unexplained / total)
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
/// let law = phasebench_ground::stats::fit::power_law(&[1.0, 4.0, 9.0], &[2.0, 4.1, 6.0])?;
/// assert!((law.slope().value - 0.5).abs() < 0.02);
/// # Ok::<(), phasebench_ground::stats::InputError>(())
/// ```
///
/// # Errors
/// As [`line()`], and values that are not positive.
pub fn power_law(x: &[f64], y: &[f64]) -> Result<PowerLaw, InputError> {
    measured_power_law(x, y, None)
}

/// [`power_law`] through points of which it is known how well each ln y was measured: see [`measured_line`].
///
/// # Errors
/// As [`measured_line`], and values that are not positive.
pub fn measured_power_law(x: &[f64], y: &[f64], errors: Option<&[PointError]>) -> Result<PowerLaw, InputError> {
    paired(x, y, 3)?;
    Ok(PowerLaw { logs: measured_line(&logs("x", x, 3)?, &logs("y", y, 3)?, errors)? })
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
    measured_scaling(x, y, None)
}

/// [`scaling`] of points of which it is known how well each ln y was measured: see [`measured_line`]. The bootstrap knows
/// nothing of that.
///
/// # Errors
/// As [`measured_power_law`].
pub fn measured_scaling(x: &[f64], y: &[f64], errors: Option<&[PointError]>) -> Result<ScalingFit, InputError> {
    let fit = measured_power_law(x, y, errors)?;
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
