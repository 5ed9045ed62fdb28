//! `multivariate_fits.csv`, `overhead_compute_fits.csv`, `architecture_correlations.csv`: which predictor holds.

use serde::{Deserialize, Serialize};

use crate::stats::fit::Line;
use crate::stats::gate::judge;
use crate::stats::interval::Interval;
use crate::stats::{fit, multivariate, rank, summary::median};
use crate::terms::{Dtype, FitAxis, Mode};

use super::scope::{Scope, ScopeKind, axis_name, explain};

/// `ln(latency_ms) = alpha + beta·ln(params_millions) + gamma·ln(n_layer)`. Every estimate is `None` where there is no
/// fit; `reason` then says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultivariateRow {
    /// As [`super::ScalingFitRow::fit_id`].
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
    /// As [`super::ScalingFitRow::headline`].
    pub headline: bool,
    /// Models fitted.
    pub n_models: usize,
    /// ln of the latency in ms at one million parameters and one layer.
    pub alpha: Option<f64>,
    /// Exponent of the parameters with the depth held still.
    pub beta_ln_params: Option<f64>,
    /// Lower end of its 95 % t interval.
    pub beta_low: Option<f64>,
    /// Upper end of it.
    pub beta_high: Option<f64>,
    /// Exponent of the depth with the parameters held still.
    pub gamma_ln_n_layer: Option<f64>,
    /// Lower end of its 95 % t interval.
    pub gamma_low: Option<f64>,
    /// Upper end of it.
    pub gamma_high: Option<f64>,
    /// `1 − SSE/SST` of the logarithms.
    pub r2: Option<f64>,
    /// Above about 10 the two effects are hardly told apart.
    pub condition_number: Option<f64>,
    /// Whether both exponents may be used.
    pub actionable: bool,
    /// Why not. `None`: they may.
    pub reason: Option<String>,
    /// What was left out of the fit and why. `None`: nothing.
    pub note: Option<String>,
}

/// `latency_ms = a + b·x`. Every estimate is `None` where there is no fit; `reason` then says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverheadRow {
    /// As [`super::ScalingFitRow::fit_id`].
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
    /// As [`super::ScalingFitRow::headline`].
    pub headline: bool,
    /// Name of the predictor's column.
    pub x: String,
    /// Models fitted.
    pub n_models: usize,
    /// a: latency that does not depend on size.
    pub a_ms: Option<f64>,
    /// Lower end of its 95 % t interval.
    pub a_low_ms: Option<f64>,
    /// Upper end of it.
    pub a_high_ms: Option<f64>,
    /// b: latency per unit of x.
    pub b_ms_per_x: Option<f64>,
    /// Lower end of its 95 % t interval.
    pub b_low_ms_per_x: Option<f64>,
    /// Upper end of it.
    pub b_high_ms_per_x: Option<f64>,
    /// `1 − SSE/SST`.
    pub r2: Option<f64>,
    /// a of the line with the least relative deviations, [`fit::relative_line`]: right for small models as for large ones.
    pub relative_a_ms: Option<f64>,
    /// Lower end of its 95 % t interval.
    pub relative_a_low_ms: Option<f64>,
    /// Upper end of it.
    pub relative_a_high_ms: Option<f64>,
    /// b of that line.
    pub relative_b_ms_per_x: Option<f64>,
    /// Lower end of its 95 % t interval.
    pub relative_b_low_ms_per_x: Option<f64>,
    /// Upper end of it.
    pub relative_b_high_ms_per_x: Option<f64>,
    /// `1 − SSE/SST` of ln latency against the logarithm of that line, to be held against [`super::ScalingFitRow::r2`].
    /// `None`: the line is not positive at a model's x.
    pub relative_r2_ln: Option<f64>,
    /// Middle of the models' x.
    pub median_x: Option<f64>,
    /// a ÷ (a + b·`median_x`). `None`: the fit is not actionable, or see `overhead_share_reason`.
    pub overhead_share: Option<f64>,
    /// Why an actionable fit has no share: the interval of a includes 0, or the share is not between 0 and 1. `None`:
    /// it has one, or the fit is not actionable.
    pub overhead_share_reason: Option<String>,
    /// Whether the fit may be used.
    pub actionable: bool,
    /// Why not. `None`: it may.
    pub reason: Option<String>,
    /// What was left out of the fit and why. `None`: nothing.
    pub note: Option<String>,
}

/// Whether latency rises with one property of the architecture. Every figure is `None` where there is no correlation;
/// `reason` then says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationRow {
    /// As [`super::ScalingFitRow::fit_id`].
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
    /// As [`super::ScalingFitRow::headline`].
    pub headline: bool,
    /// Name of the property's column.
    pub predictor: String,
    /// Models ranked.
    pub n_models: usize,
    /// Spearman's ρ.
    pub rho: Option<f64>,
    /// Two-sided p by Student's t: rough for few models.
    pub p_t: Option<f64>,
    /// Two-sided p over all orders. `None` as well above [`rank::EXACT_UP_TO`] models.
    pub p_exact: Option<f64>,
    /// Why there is none. `None`: there is.
    pub reason: Option<String>,
    /// What was left out and why. `None`: nothing.
    pub note: Option<String>,
}

/// Fits size and depth together over every scope.
pub(super) fn multivariate(scopes: &[Scope<'_>]) -> Vec<MultivariateRow> {
    let axes = [FitAxis::Params, FitAxis::NLayer];
    let row = |scope: &Scope<'_>| {
        let scope = scope.with(&axes);
        let fitted = multivariate::power_law(&scope.column(axes[0]), &scope.column(axes[1]), &scope.latencies());
        let error = fitted.as_ref().err().map(|error| explain(error, &axes.map(axis_name)));
        let plane = fitted.ok();
        let gate = plane.as_ref().map(|plane| {
            let intervals = [("t (params)", plane.first.interval), ("t (n_layer)", plane.second.interval)];
            judge(plane.n, plane.r2, &intervals)
        });
        let plane = plane.as_ref();
        MultivariateRow {
            fit_id: scope.id(),
            backend: scope.like.backend.clone(),
            dtype: scope.like.dtype,
            mode: scope.like.mode,
            scope: scope.kind,
            scenario: scope.scenario().map(str::to_owned),
            batch: scope.like.batch,
            gen_tokens: scope.like.gen_tokens,
            headline: scope.headline,
            n_models: scope.points.len(),
            alpha: plane.map(|p| p.intercept.value),
            beta_ln_params: plane.map(|p| p.first.value),
            beta_low: plane.map(|p| p.first.interval.low),
            beta_high: plane.map(|p| p.first.interval.high),
            gamma_ln_n_layer: plane.map(|p| p.second.value),
            gamma_low: plane.map(|p| p.second.interval.low),
            gamma_high: plane.map(|p| p.second.interval.high),
            r2: plane.map(|p| p.r2),
            condition_number: plane.map(|p| p.condition_number),
            actionable: gate.as_ref().is_some_and(|gate| gate.is_actionable()),
            reason: error.or_else(|| gate.and_then(|gate| gate.reason())),
            note: scope.note(),
        }
    };
    scopes.iter().map(row).collect()
}

/// Fits overhead plus compute over every scope.
pub(super) fn overhead(scopes: &[Scope<'_>], axis: FitAxis) -> Vec<OverheadRow> {
    let row = |scope: &Scope<'_>| {
        let scope = scope.with(&[axis]);
        let x = scope.column(axis);
        let fitted = fit::affine(&x, &scope.latencies());
        let relative = fit::relative_line(&x, &scope.latencies()).ok();
        let error = fitted.as_ref().err().map(|error| explain(error, &[axis_name(axis)]));
        let judged = fitted.ok();
        let line = judged.as_ref().map(|judged| &judged.fit);
        let actionable = judged.as_ref().is_some_and(|judged| judged.gate.is_actionable());
        let median_x = median(&x);
        let share = line.zip(median_x).filter(|_| actionable).map(|(line, x)| overhead_share(line, x));
        let (overhead_share, overhead_share_reason) = match share {
            Some(Ok(share)) => (Some(share), None),
            Some(Err(why)) => (None, Some(why.to_owned())),
            None => (None, None),
        };
        OverheadRow {
            fit_id: scope.id(),
            backend: scope.like.backend.clone(),
            dtype: scope.like.dtype,
            mode: scope.like.mode,
            scope: scope.kind,
            scenario: scope.scenario().map(str::to_owned),
            batch: scope.like.batch,
            gen_tokens: scope.like.gen_tokens,
            headline: scope.headline,
            x: axis_name(axis).to_owned(),
            n_models: scope.points.len(),
            a_ms: line.map(|line| line.intercept.value),
            a_low_ms: line.map(|line| line.intercept.interval.low),
            a_high_ms: line.map(|line| line.intercept.interval.high),
            b_ms_per_x: line.map(|line| line.slope.value),
            b_low_ms_per_x: line.map(|line| line.slope.interval.low),
            b_high_ms_per_x: line.map(|line| line.slope.interval.high),
            r2: line.map(|line| line.r2),
            relative_a_ms: relative.map(|line| line.intercept.value),
            relative_a_low_ms: relative.map(|line| line.intercept.interval.low),
            relative_a_high_ms: relative.map(|line| line.intercept.interval.high),
            relative_b_ms_per_x: relative.map(|line| line.slope.value),
            relative_b_low_ms_per_x: relative.map(|line| line.slope.interval.low),
            relative_b_high_ms_per_x: relative.map(|line| line.slope.interval.high),
            relative_r2_ln: relative.and_then(|line| line.r2_ln),
            median_x,
            overhead_share,
            overhead_share_reason,
            actionable,
            reason: error.or_else(|| judged.as_ref().and_then(|judged| judged.gate.reason())),
            note: scope.note(),
        }
    };
    scopes.iter().map(row).collect()
}

/// The constant part of a model's latency at `x`, or why it cannot be told.
fn overhead_share(line: &Line, x: f64) -> Result<f64, &'static str> {
    let Interval { low, high } = line.intercept.interval;
    if low <= 0.0 && high >= 0.0 {
        return Err("the interval of a includes 0");
    }
    let share = line.intercept.value / line.at(x);
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a or b is negative") }
}

/// Ranks latency against size, depth, width and heads over every scope.
pub(super) fn correlations(scopes: &[Scope<'_>]) -> Vec<CorrelationRow> {
    const PREDICTORS: [FitAxis; 4] = [FitAxis::Params, FitAxis::NLayer, FitAxis::NEmbd, FitAxis::NHead];
    let row = |scope: &Scope<'_>, axis: FitAxis| {
        let scope = scope.with(&[axis]);
        let found = rank::spearman(&scope.column(axis), &scope.latencies());
        let reason = found.as_ref().err().map(|error| explain(error, &[axis_name(axis)]));
        let found = found.ok();
        CorrelationRow {
            fit_id: scope.id(),
            backend: scope.like.backend.clone(),
            dtype: scope.like.dtype,
            mode: scope.like.mode,
            scope: scope.kind,
            scenario: scope.scenario().map(str::to_owned),
            batch: scope.like.batch,
            gen_tokens: scope.like.gen_tokens,
            headline: scope.headline,
            predictor: axis_name(axis).to_owned(),
            n_models: scope.points.len(),
            rho: found.map(|found| found.rho),
            p_t: found.map(|found| found.p_t),
            p_exact: found.and_then(|found| found.p_exact),
            reason,
            note: scope.note(),
        }
    };
    scopes.iter().flat_map(|scope| PREDICTORS.map(|axis| row(scope, axis))).collect()
}
