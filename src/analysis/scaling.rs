//! `scaling_fits.csv`, `scaling_fits_length_limited.csv`, `scaling_residuals.csv`: latency against model size.

use serde::{Deserialize, Serialize};

use crate::stats::bootstrap::Resampling;
use crate::stats::fit::{self, ScalingFit};
use crate::stats::measured::PointError;
use crate::stats::{InputError, interval::Interval};
use crate::terms::{Dtype, FitAxis, Mode};

use super::scope::{Scope, ScopeKind, axis_name, explain};

/// One power law, `ln(latency_ms) = intercept_ln + slope·ln(x)`, over models. Every estimate is `None` where there is
/// no fit; `reason` then says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingFitRow {
    /// Names the fit, see [`ScalingResidualRow::fit_id`]: `backend/dtype/mode/scope/batch/decode length`.
    pub fit_id: String,
    /// Backend name.
    pub backend: String,
    /// Element type of the sessions.
    pub dtype: Dtype,
    /// What is timed.
    pub mode: Mode,
    /// Over what the latencies are taken.
    pub scope: ScopeKind,
    /// Scenario name. `None`: an aggregate.
    pub scenario: Option<String>,
    /// Rows decoded together.
    pub batch: u32,
    /// Timed decode steps.
    pub gen_tokens: u32,
    /// Whether it is the fit to quote for this backend, element type and mode: the aggregate over most scenarios.
    pub headline: bool,
    /// Always `power_law`.
    pub form: String,
    /// Name of the predictor's column.
    pub x: String,
    /// Models fitted.
    pub n_models: usize,
    /// Their names, joined by `;`.
    pub models: String,
    /// Scenarios behind each point, joined by `;`.
    pub scenarios: String,
    /// The exponent.
    pub slope: Option<f64>,
    /// ln of the latency in ms at x = 1.
    pub intercept_ln: Option<f64>,
    /// `1 − SSE/SST` of the logarithms.
    pub r2: Option<f64>,
    /// Residual standard deviation of ln latency.
    pub sigma_ln: Option<f64>,
    /// Standard deviation of the models' ln latency about the law beyond what the errors of their own medians explain: 0
    /// where those explain all. `None`: of one median it is not known how sure it is.
    pub scatter_ln: Option<f64>,
    /// Lower end of the slope's 95 % t interval: the one to trust. It holds the scatter of the models and, where
    /// `scatter_ln` is told, how well each median is known.
    pub slope_t_low: Option<f64>,
    /// Upper end of it.
    pub slope_t_high: Option<f64>,
    /// Lower end of the slope's 95 % bootstrap interval: too narrow at few models.
    pub slope_bootstrap_low: Option<f64>,
    /// Upper end of it.
    pub slope_bootstrap_high: Option<f64>,
    /// `exact`, or `sampled` with resamples and seed.
    pub bootstrap: Option<String>,
    /// Whether the fit may be used: at least 4 models, R² at least 0.2, both intervals exclude 0.
    pub actionable: bool,
    /// Why it may not. `None`: it may.
    pub reason: Option<String>,
    /// What was left out of the fit and why. `None`: nothing.
    pub note: Option<String>,
}

/// One model of one fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalingResidualRow {
    /// The row of `scaling_fits.csv`.
    pub fit_id: String,
    /// Model name.
    pub model: String,
    /// Hash of the weights.
    pub weights_id: String,
    /// The predictor.
    pub x: f64,
    /// What was measured.
    pub latency_ms: f64,
    /// Standard error of its logarithm. `None`: too few calls to tell.
    pub latency_se_ln: Option<f64>,
    /// Degrees of freedom of that. `None`: as above.
    pub latency_se_df: Option<f64>,
    /// What the law says.
    pub fitted_ms: f64,
    /// `ln(latency_ms) − ln(fitted_ms)`.
    pub residual_ln: f64,
    /// Lower end of the law's 95 % band at `x`.
    pub band_low_ms: f64,
    /// Upper end of it.
    pub band_high_ms: f64,
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
    let error = |point: &ScalingResidualRow| {
        Some(PointError { standard_error: point.latency_se_ln?, df: point.latency_se_df? })
    };
    let errors: Option<Vec<PointError>> = points.iter().map(error).collect();
    let law = fit::measured_power_law(&x, &y, errors.as_deref())?;
    let low = x.iter().copied().fold(f64::INFINITY, f64::min).ln();
    let high = x.iter().copied().fold(0.0, f64::max).ln();
    let at = |step: usize| (low + (high - low) * step as f64 / steps.saturating_sub(1).max(1) as f64).exp();
    let point = |x: f64| Some(CurvePoint { x, fitted_ms: law.at(x)?, band_ms: law.mean_band(x)? });
    Ok((0..steps).map(at).filter_map(point).collect())
}

/// The fit of every scope, and the residuals of those that worked.
pub(super) fn derive(scopes: &[Scope<'_>], axis: FitAxis) -> (Vec<ScalingFitRow>, Vec<ScalingResidualRow>) {
    let (mut fits, mut residuals) = (Vec::new(), Vec::new());
    for scope in scopes {
        let scope = scope.with(&[axis]);
        let x = scope.column(axis);
        let fitted = fit::measured_scaling(&x, &scope.latencies(), scope.errors().as_deref());
        if let Ok(fitted) = &fitted {
            residuals.extend(residuals_of(&scope, &x, fitted));
        }
        fits.push(row(&scope, axis, fitted));
    }
    (fits, residuals)
}

fn row(scope: &Scope<'_>, axis: FitAxis, fitted: Result<ScalingFit, InputError>) -> ScalingFitRow {
    let (fitted, error) = match fitted {
        Ok(fitted) => (Some(fitted), None),
        Err(error) => (None, Some(explain(&error, &[axis_name(axis)]))),
    };
    let law = fitted.as_ref().map(|judged| &judged.fit);
    let bootstrap = fitted.as_ref().map(|judged| judged.bootstrap);
    let gate = fitted.as_ref().map(|judged| &judged.gate);
    ScalingFitRow {
        fit_id: scope.id(),
        backend: scope.like.backend.clone(),
        dtype: scope.like.dtype,
        mode: scope.like.mode,
        scope: scope.kind,
        scenario: scope.scenario().map(str::to_owned),
        batch: scope.like.batch,
        gen_tokens: scope.like.gen_tokens,
        headline: scope.headline,
        form: "power_law".to_owned(),
        x: axis_name(axis).to_owned(),
        n_models: scope.points.len(),
        models: scope.points.iter().map(|point| point.row.model.as_str()).collect::<Vec<_>>().join(";"),
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

fn residuals_of(scope: &Scope<'_>, x: &[f64], fitted: &ScalingFit) -> Vec<ScalingResidualRow> {
    let law = &fitted.fit;
    let rows = scope.points.iter().zip(x).zip(&law.logs.residuals).filter_map(|((point, &x), &residual_ln)| {
        let band = law.mean_band(x)?;
        Some(ScalingResidualRow {
            fit_id: scope.id(),
            model: point.row.model.clone(),
            weights_id: point.row.weights_id.clone(),
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
