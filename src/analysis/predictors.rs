//! `multivariate_fits.csv`, `overhead_compute_fits.csv`, `architecture_correlations.csv`: which predictor holds.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::stats::fit::Line;
use crate::stats::gate::judge;
use crate::stats::interval::Interval;
use crate::stats::{fit, multivariate, rank, summary::median};
use crate::terms::FitAxis;

use super::columns::columns;
use super::scope::{FitKey, Scope, axis_name, fit_or_reason, scopes};
use super::summary::Summary;
use super::table::{Sources, Table};

columns! {
    /// `ln(latency_ms) = alpha + beta·ln(params_millions) + gamma·ln(n_layer)`. Every estimate is `None` where there is no
    /// fit; `reason` then says why.
    pub struct MultivariateRow {
        ..key: FitKey,
        /// Models fitted.
        n_models: usize,
        /// ln of the latency in ms at one million parameters and one layer.
        /// Unit: ln of milliseconds.
        alpha: Option<f64>,
        /// Exponent of the parameters with the depth held still.
        /// Source: ordinary least squares on the logarithms.
        /// Unit: exponent.
        beta_ln_params: Option<f64>,
        /// Lower end of its 95 % t interval.
        /// Unit: exponent.
        beta_low: Option<f64>,
        /// Upper end of it.
        /// Unit: exponent.
        beta_high: Option<f64>,
        /// Exponent of the depth with the parameters held still.
        /// Source: ordinary least squares on the logarithms.
        /// Unit: exponent.
        gamma_ln_n_layer: Option<f64>,
        /// Lower end of its 95 % t interval.
        /// Unit: exponent.
        gamma_low: Option<f64>,
        /// Upper end of it.
        /// Unit: exponent.
        gamma_high: Option<f64>,
        /// `1 − SSE/SST` of the logarithms.
        /// Unit: fraction.
        r2: Option<f64>,
        /// Above about 10 the two effects are hardly told apart.
        /// Source: `√((1+|r|)/(1−|r|))`, r the correlation of the two centred log predictors.
        /// Unit: ratio.
        condition_number: Option<f64>,
        /// Whether both exponents may be used.
        actionable: bool,
        /// Why not. `None`: they may.
        reason: Option<String>,
        /// What was left out of the fit and why. `None`: nothing.
        note: Option<String>,
    }
}

columns! {
    /// `latency_ms = a + b·x`. Every estimate is `None` where there is no fit; `reason` then says why.
    pub struct OverheadRow {
        ..key: FitKey,
        /// Name of the predictor's column.
        x: String,
        /// Models fitted.
        n_models: usize,
        /// a: latency that does not depend on size.
        a_ms: Option<f64>,
        /// Lower end of its 95 % t interval.
        a_low_ms: Option<f64>,
        /// Upper end of it.
        a_high_ms: Option<f64>,
        /// b: latency per unit of x.
        b_ms_per_x: Option<f64>,
        /// Lower end of its 95 % t interval.
        b_low_ms_per_x: Option<f64>,
        /// Upper end of it.
        b_high_ms_per_x: Option<f64>,
        /// `1 − SSE/SST`.
        /// Unit: fraction.
        r2: Option<f64>,
        /// a of the line with the least relative deviations: right for small models as for large ones.
        relative_a_ms: Option<f64>,
        /// Lower end of its 95 % t interval.
        relative_a_low_ms: Option<f64>,
        /// Upper end of it.
        relative_a_high_ms: Option<f64>,
        /// b of that line.
        relative_b_ms_per_x: Option<f64>,
        /// Lower end of its 95 % t interval.
        relative_b_low_ms_per_x: Option<f64>,
        /// Upper end of it.
        relative_b_high_ms_per_x: Option<f64>,
        /// `1 − SSE/SST` of ln latency against the logarithm of that line, to be held against `r2` of `scaling_fits.csv`.
        /// `None`: the line is not positive at a model's x.
        /// Unit: fraction.
        relative_r2_ln: Option<f64>,
        /// Middle of the models' x.
        /// Unit: the predictor's.
        median_x: Option<f64>,
        /// a ÷ (a + b·`median_x`). `None`: the fit is not actionable, or see `overhead_share_reason`.
        /// Unit: fraction.
        overhead_share: Option<f64>,
        /// Why an actionable fit has no share: the interval of a includes 0, or the share is not between 0 and 1. `None`:
        /// it has one, or the fit is not actionable.
        overhead_share_reason: Option<String>,
        /// Whether the fit may be used.
        actionable: bool,
        /// Why not. `None`: it may.
        reason: Option<String>,
        /// What was left out of the fit and why. `None`: nothing.
        note: Option<String>,
    }
}

columns! {
    /// Whether latency rises with one property of the architecture. Every figure is `None` where there is no correlation;
    /// `reason` then says why.
    pub struct CorrelationRow {
        ..key: FitKey,
        /// Name of the property's column.
        predictor: String,
        /// Models ranked.
        n_models: usize,
        /// Spearman's ρ.
        /// Source: Spearman's rank correlation; ties share their average rank.
        /// Unit: correlation.
        rho: Option<f64>,
        /// Two-sided p by Student's t: rough for few models.
        /// Unit: probability.
        p_t: Option<f64>,
        /// Two-sided p over all orders. `None`: also above 9 models.
        /// Source: all orders of the latencies, counted out.
        /// Unit: probability.
        p_exact: Option<f64>,
        /// Why there is none. `None`: there is.
        reason: Option<String>,
        /// What was left out and why. `None`: nothing.
        note: Option<String>,
    }
}

/// `analysis/multivariate_fits.csv`.
pub struct MultivariateFits;

impl Table for MultivariateFits {
    type Row = MultivariateRow;
    const FILE: &'static str = "analysis/multivariate_fits.csv";
    const ABOUT: &'static str = "Size and depth together, one row per fit of `scaling_fits.csv`.";

    fn derive(from: &Sources<'_>) -> Vec<MultivariateRow> {
        let summary = from.rows::<Summary>();
        scopes(&summary).iter().map(size_and_depth).collect()
    }
}

/// Fits size and depth together.
fn size_and_depth(scope: &Scope<'_>) -> MultivariateRow {
    const AXES: [FitAxis; 2] = [FitAxis::Params, FitAxis::NLayer];
    let scope = scope.with(&AXES);
    let fitted = multivariate::power_law(&scope.column(AXES[0]), &scope.column(AXES[1]), &scope.latencies());
    let (plane, error) = fit_or_reason(fitted, &AXES);
    let plane = plane.as_ref();
    let gate = plane.map(|plane| {
        let intervals = [("t (params)", plane.first.interval), ("t (n_layer)", plane.second.interval)];
        judge(plane.n, plane.r2, &intervals)
    });
    MultivariateRow {
        key: scope.key(),
        n_models: scope.points.len(),
        alpha: plane.map(|plane| plane.intercept.value),
        beta_ln_params: plane.map(|plane| plane.first.value),
        beta_low: plane.map(|plane| plane.first.interval.low),
        beta_high: plane.map(|plane| plane.first.interval.high),
        gamma_ln_n_layer: plane.map(|plane| plane.second.value),
        gamma_low: plane.map(|plane| plane.second.interval.low),
        gamma_high: plane.map(|plane| plane.second.interval.high),
        r2: plane.map(|plane| plane.r2),
        condition_number: plane.map(|plane| plane.condition_number),
        actionable: gate.as_ref().is_some_and(|gate| gate.is_actionable()),
        reason: error.or_else(|| gate.and_then(|gate| gate.reason())),
        note: scope.note(),
    }
}

/// `analysis/overhead_compute_fits.csv`.
pub struct OverheadComputeFits;

impl Table for OverheadComputeFits {
    type Row = OverheadRow;
    const FILE: &'static str = "analysis/overhead_compute_fits.csv";
    const ABOUT: &'static str = "A constant plus a part proportional to size, one row per fit of `scaling_fits.csv`.";

    fn derive(from: &Sources<'_>) -> Vec<OverheadRow> {
        let summary = from.rows::<Summary>();
        let axis = from.plan.fit;
        scopes(&summary).par_iter().map(|scope| overhead_and_compute(scope, axis)).collect()
    }
}

/// Fits a constant plus a part proportional to size, by differences and by ratios.
fn overhead_and_compute(scope: &Scope<'_>, axis: FitAxis) -> OverheadRow {
    let scope = scope.with(&[axis]);
    let x = scope.column(axis);
    let (judged, error) = fit_or_reason(fit::affine(&x, &scope.latencies()), &[axis]);
    let judged = judged.as_ref();
    let actionable = judged.is_some_and(|judged| judged.gate.is_actionable());
    let (line, relative) = (judged.map(|judged| &judged.fit), fit::relative_line(&x, &scope.latencies()).ok());
    let [a, b] = [line.map(|line| line.intercept), line.map(|line| line.slope)];
    let [relative_a, relative_b] = [relative.map(|line| line.intercept), relative.map(|line| line.slope)];
    let median_x = median(&x);
    let share = line.zip(median_x).filter(|_| actionable).map(|(line, x)| overhead_share(line, x));
    let (overhead_share, overhead_share_reason) = match share {
        Some(Ok(share)) => (Some(share), None),
        Some(Err(why)) => (None, Some(why.to_owned())),
        None => (None, None),
    };
    OverheadRow {
        key: scope.key(),
        x: axis_name(axis).to_owned(),
        n_models: scope.points.len(),
        a_ms: a.map(|a| a.value),
        a_low_ms: a.map(|a| a.interval.low),
        a_high_ms: a.map(|a| a.interval.high),
        b_ms_per_x: b.map(|b| b.value),
        b_low_ms_per_x: b.map(|b| b.interval.low),
        b_high_ms_per_x: b.map(|b| b.interval.high),
        r2: line.map(|line| line.r2),
        relative_a_ms: relative_a.map(|a| a.value),
        relative_a_low_ms: relative_a.map(|a| a.interval.low),
        relative_a_high_ms: relative_a.map(|a| a.interval.high),
        relative_b_ms_per_x: relative_b.map(|b| b.value),
        relative_b_low_ms_per_x: relative_b.map(|b| b.interval.low),
        relative_b_high_ms_per_x: relative_b.map(|b| b.interval.high),
        relative_r2_ln: relative.and_then(|line| line.r2_ln),
        median_x,
        overhead_share,
        overhead_share_reason,
        actionable,
        reason: error.or_else(|| judged.and_then(|judged| judged.gate.reason())),
        note: scope.note(),
    }
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

/// `analysis/architecture_correlations.csv`.
pub struct ArchitectureCorrelations;

impl Table for ArchitectureCorrelations {
    type Row = CorrelationRow;
    const FILE: &'static str = "analysis/architecture_correlations.csv";
    const ABOUT: &'static str =
        "Ranks of latency against size, depth, width and heads, for every fit of `scaling_fits.csv`.";

    fn derive(from: &Sources<'_>) -> Vec<CorrelationRow> {
        let summary = from.rows::<Summary>();
        let scopes = scopes(&summary);
        scopes.iter().flat_map(|scope| PROPERTIES.map(|axis| correlation(scope, axis))).collect()
    }
}

/// Properties of the architecture that latency is ranked against.
const PROPERTIES: [FitAxis; 4] = [FitAxis::Params, FitAxis::NLayer, FitAxis::NEmbd, FitAxis::NHead];

/// Ranks latency against one of [`PROPERTIES`].
fn correlation(scope: &Scope<'_>, axis: FitAxis) -> CorrelationRow {
    let scope = scope.with(&[axis]);
    let (found, reason) = fit_or_reason(rank::spearman(&scope.column(axis), &scope.latencies()), &[axis]);
    CorrelationRow {
        key: scope.key(),
        predictor: axis_name(axis).to_owned(),
        n_models: scope.points.len(),
        rho: found.map(|found| found.rho),
        p_t: found.map(|found| found.p_t),
        p_exact: found.and_then(|found| found.p_exact),
        reason,
        note: scope.note(),
    }
}
