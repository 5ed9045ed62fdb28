//! `scaling_fits.csv`, `scaling_fits_length_limited.csv`, `scaling_residuals.csv`: latency against model size.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::stats::bootstrap::Resampling;
use crate::stats::fit::{self, ScalingFit};
use crate::stats::measured::PointError;
use crate::stats::{InputError, interval::Interval};
use crate::terms::Finish;
use crate::terms::FitAxis;

use super::columns::columns;
use super::metrics::MetricRow;
use super::metrics::Metrics;
use super::scope::{FitKey, Scope, axis_name, fit_or_reason, scopes};
use super::summary::Summary;
use super::summary::{SummaryRow, summarise};
use super::table::{Sources, Table};

columns! {
    /// One power law, `ln(latency_ms) = intercept_ln + slope·ln(x)`, over models. Every estimate is `None` where there is
    /// no fit; `reason` then says why.
    pub struct ScalingFitRow {
        ..key: FitKey,
        /// Always `power_law`.
        form: String,
        /// Name of the predictor's column.
        /// Unit: the predictor's.
        x: String,
        /// Models fitted.
        n_models: usize,
        /// Their names, joined by `;`.
        models: String,
        /// Scenarios behind each point, joined by `;`.
        scenarios: String,
        /// The exponent.
        /// Source: ordinary least squares on the logarithms.
        /// Unit: exponent.
        slope: Option<f64>,
        /// ln of the latency in ms at x = 1.
        /// Unit: ln of milliseconds.
        intercept_ln: Option<f64>,
        /// `1 − SSE/SST` of the logarithms.
        /// Unit: fraction.
        r2: Option<f64>,
        /// Residual standard deviation of ln latency.
        /// Unit: ln of a ratio.
        sigma_ln: Option<f64>,
        /// Standard deviation of the models' ln latency about the law beyond what the errors of their own medians explain:
        /// 0 where those explain all. `None`: of one median it is not known how sure it is.
        /// Unit: ln of a ratio.
        scatter_ln: Option<f64>,
        /// Lower end of the slope's 95 % t interval: the one to trust. It holds the scatter of the models and, where
        /// `scatter_ln` is told, how well each median is known.
        /// Source: Student's t; degrees of freedom of the scatter of the models and of each median.
        /// Unit: exponent.
        slope_t_low: Option<f64>,
        /// Upper end of it.
        /// Source: Student's t; degrees of freedom of the scatter of the models and of each median.
        /// Unit: exponent.
        slope_t_high: Option<f64>,
        /// Lower end of the slope's 95 % bootstrap interval: too narrow at few models.
        /// Source: pairs bootstrap over models.
        /// Unit: exponent.
        slope_bootstrap_low: Option<f64>,
        /// Upper end of it.
        /// Source: pairs bootstrap over models.
        /// Unit: exponent.
        slope_bootstrap_high: Option<f64>,
        /// `exact`, or `sampled` with resamples and seed.
        bootstrap: Option<String>,
        /// Whether the fit may be used: at least 4 models, R² at least 0.2, both intervals exclude 0.
        actionable: bool,
        /// Why it may not. `None`: it may.
        reason: Option<String>,
        /// What was left out of the fit and why. `None`: nothing.
        note: Option<String>,
    }
}

columns! {
    /// One model of one fit.
    pub struct ScalingResidualRow {
        /// The row of `scaling_fits.csv`.
        fit_id: String,
        /// Model name.
        model: String,
        /// Hash of the weights.
        weights_id: String,
        /// The predictor.
        /// Unit: the predictor's.
        x: f64,
        /// What was measured.
        latency_ms: f64,
        /// Standard error of its logarithm. `None`: too few calls to tell.
        /// Unit: ln of a ratio.
        latency_se_ln: Option<f64>,
        /// Degrees of freedom of that. `None`: as above.
        /// Unit: degrees of freedom.
        latency_se_df: Option<f64>,
        /// What the law says.
        fitted_ms: f64,
        /// `ln(latency_ms) − ln(fitted_ms)`.
        /// Unit: ln of a ratio.
        residual_ln: f64,
        /// Lower end of the law's 95 % band at `x`.
        band_low_ms: f64,
        /// Upper end of it.
        band_high_ms: f64,
    }
}

/// A fitted law at one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// The predictor.
    pub x: f64,
    /// What the law says.
    pub fitted_ms: f64,
    /// Where the true law lies there, at 95 %.
    pub band_ms: Interval,
}

/// A fit's law with its band at `steps` sizes from the smallest model to the largest, evenly in ln x: for drawing.
///
/// `points` are the fit's rows of `scaling_residuals.csv`.
///
/// # Errors
/// As [`fit::measured_power_law`]; not for the points of a fit that has a slope.
pub fn curve(points: &[ScalingResidualRow], steps: usize) -> Result<Vec<CurvePoint>, InputError> {
    let x: Vec<f64> = points.iter().map(|point| point.x).collect();
    let y: Vec<f64> = points.iter().map(|point| point.latency_ms).collect();
    let errors: Option<Vec<PointError>> = points.iter().map(ScalingResidualRow::error).collect();
    let law = fit::measured_power_law(&x, &y, errors.as_deref())?;
    let low = x.iter().copied().fold(f64::INFINITY, f64::min).ln();
    let high = x.iter().copied().fold(0.0, f64::max).ln();
    let last = steps.saturating_sub(1).max(1) as f64;
    let sizes = (0..steps).map(|step| (low + (high - low) * step as f64 / last).exp());
    let point = |x: f64| Some(CurvePoint { x, fitted_ms: law.at(x)?, band_ms: law.mean_band(x)? });
    Ok(sizes.filter_map(point).collect())
}

impl ScalingResidualRow {
    /// How sure what was measured is. `None`: too few calls to tell.
    fn error(&self) -> Option<PointError> {
        Some(PointError { standard_error: self.latency_se_ln?, df: self.latency_se_df? })
    }
}

/// `analysis/scaling_fits.csv`.
pub struct ScalingFits;

impl Table for ScalingFits {
    type Row = ScalingFitRow;
    const FILE: &'static str = "analysis/scaling_fits.csv";
    const ABOUT: &'static str = "Latency against model size: of each backend, element type, mode and shape the aggregate first, then its scenarios.";

    fn derive(from: &Sources<'_>) -> Vec<ScalingFitRow> {
        let summary = from.rows::<Summary>();
        fits(&summary, from.plan.fit)
    }
}

/// `analysis/scaling_fits_length_limited.csv`.
pub struct ScalingFitsLengthLimited;

impl Table for ScalingFitsLengthLimited {
    type Row = ScalingFitRow;
    const FILE: &'static str = "analysis/scaling_fits_length_limited.csv";
    const ABOUT: &'static str =
        "The fits of `scaling_fits.csv` over calls that ended by length, or do not tell how they ended.";

    fn derive(from: &Sources<'_>) -> Vec<ScalingFitRow> {
        let metrics = from.rows::<Metrics>();
        let by_length = |row: &MetricRow| row.finish.is_none_or(|finish| finish == Finish::Length);
        if metrics.par_iter().all(by_length) {
            return from.rows::<ScalingFits>().to_vec();
        }
        fits(&summarise(from, &metrics, by_length), from.plan.fit)
    }
}

/// `analysis/scaling_residuals.csv`.
pub struct ScalingResiduals;

impl Table for ScalingResiduals {
    type Row = ScalingResidualRow;
    const FILE: &'static str = "analysis/scaling_residuals.csv";
    const ABOUT: &'static str = "The models of each fit of `scaling_fits.csv` that worked.";

    fn derive(from: &Sources<'_>) -> Vec<ScalingResidualRow> {
        let summary = from.rows::<Summary>();
        let scaling_fits = from.rows::<ScalingFits>();
        let scopes = scopes(&summary);
        let fitted = scopes.iter().zip(scaling_fits.iter()).filter(|(_, fit)| fit.slope.is_some());
        fitted.flat_map(|(scope, _)| residuals(scope, from.plan.fit)).collect()
    }
}

/// The fit of every scope.
fn fits(summary: &[SummaryRow], axis: FitAxis) -> Vec<ScalingFitRow> {
    let of_scope = |scope: &Scope<'_>| {
        let scope = scope.with(&[axis]);
        row(&scope, axis, fit::measured_scaling(&scope.column(axis), &scope.latencies(), scope.errors().as_deref()))
    };
    scopes(summary).par_iter().map(of_scope).collect()
}

fn row(scope: &Scope<'_>, axis: FitAxis, fitted: Result<ScalingFit, InputError>) -> ScalingFitRow {
    let (fitted, error) = fit_or_reason(fitted, &[axis]);
    let law = fitted.as_ref().map(|judged| &judged.fit);
    let bootstrap = fitted.as_ref().map(|judged| judged.bootstrap);
    let gate = fitted.as_ref().map(|judged| &judged.gate);
    ScalingFitRow {
        key: scope.key(),
        form: "power_law".to_owned(),
        x: axis_name(axis).to_owned(),
        n_models: scope.points.len(),
        models: scope.points.iter().map(|point| point.row.key.model.as_str()).collect::<Vec<_>>().join(";"),
        scenarios: scope.scenarios.join(";"),
        slope: law.map(|law| law.slope().value),
        intercept_ln: law.map(|law| law.intercept_ln().value),
        r2: law.map(|law| law.r2()),
        sigma_ln: law.map(|law| law.logs.sigma),
        scatter_ln: law.and_then(|law| law.logs.scatter()),
        slope_t_low: law.map(|law| law.slope().interval.low),
        slope_t_high: law.map(|law| law.slope().interval.high),
        slope_bootstrap_low: bootstrap.map(|b| b.interval.low),
        slope_bootstrap_high: bootstrap.map(|b| b.interval.high),
        bootstrap: bootstrap.map(|b| resampling(b.resampling)),
        actionable: gate.is_some_and(|gate| gate.is_actionable()),
        reason: error.or_else(|| gate.and_then(|gate| gate.reason())),
        note: scope.note(),
    }
}

/// How a bootstrap interval came about, in words.
#[must_use]
pub fn resampling(how: Resampling) -> String {
    match how {
        Resampling::Exact => "exact".to_owned(),
        Resampling::Sampled { resamples, seed } => format!("sampled, {resamples} resamples, seed {seed}"),
    }
}

/// The models of a fit. Empty: there is no fit.
fn residuals(scope: &Scope<'_>, axis: FitAxis) -> Vec<ScalingResidualRow> {
    let scope = scope.with(&[axis]);
    let x = scope.column(axis);
    let Ok(law) = fit::measured_power_law(&x, &scope.latencies(), scope.errors().as_deref()) else { return Vec::new() };
    let rows = scope.points.iter().zip(&x).zip(&law.logs.residuals).filter_map(|((point, &x), &residual_ln)| {
        let band = law.mean_band(x)?;
        Some(ScalingResidualRow {
            fit_id: scope.id(),
            model: point.row.key.model.clone(),
            weights_id: point.row.key.weights_id.clone(),
            x,
            latency_ms: point.latency_ms,
            latency_se_ln: point.error.map(|error| error.standard_error),
            latency_se_df: point.error.map(|error| error.df),
            fitted_ms: law.at(x)?,
            residual_ln,
            band_low_ms: band.low,
            band_high_ms: band.high,
        })
    });
    rows.collect()
}
