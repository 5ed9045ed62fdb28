//! `batch_shift.csv`, `decode_length_shift.csv`: whether what a fit says survives another batch or decode length.
//!
//! A fit's conclusion is whether latency depends on the predictor, and in which direction. It survives a shift where
//! both fits are actionable with the same sign, or neither is and their intervals overlap. Where one of them has too few
//! models to be actionable at all, nothing can be said.

use serde::{Deserialize, Serialize};

use crate::stats::fit::{self, ScalingFit};
use crate::stats::gate::MIN_POINTS;
use crate::stats::interval::Interval;
use crate::stats::summary::geometric_mean;
use crate::terms::{Dtype, FitAxis, Mode};

use super::columns::columns;
use super::scope::{Point, Scope, ScopeKind, axis_name, explain, scopes};
use super::summary::Summary;
use super::table::{Sources, Table};

columns! {
    /// The fit at the smallest batch or decode length (`a`) beside that at a larger one (`b`).
    pub struct ShiftRow {
        /// Backend name.
        backend: String,
        /// Element type of the sessions.
        dtype: Dtype,
        /// What is timed.
        mode: Mode,
        /// Over what the latencies are taken.
        scope: ScopeKind,
        /// What is fitted.
        metric: Metric,
        /// The fit, see `scaling_fits.csv`.
        fit_id_a: String,
        /// The fit, see `scaling_fits.csv`.
        fit_id_b: String,
        /// Scenario name. `None`: an aggregate.
        scenario_a: Option<String>,
        /// Scenario name. `None`: an aggregate.
        scenario_b: Option<String>,
        /// Rows decoded together.
        batch_a: u32,
        /// Rows decoded together.
        batch_b: u32,
        /// Timed decode steps.
        gen_tokens_a: u32,
        /// Timed decode steps.
        gen_tokens_b: u32,
        /// Slope of ln metric over ln x. `None`, here and below: there is no such fit.
        /// Unit: exponent.
        slope_a: Option<f64>,
        /// Lower end of its 95 % t interval.
        /// Unit: exponent.
        slope_a_low: Option<f64>,
        /// Upper end of it.
        /// Unit: exponent.
        slope_a_high: Option<f64>,
        /// Whether that fit is actionable.
        actionable_a: bool,
        /// Slope of ln metric over ln x.
        /// Unit: exponent.
        slope_b: Option<f64>,
        /// Lower end of its 95 % t interval.
        /// Unit: exponent.
        slope_b_low: Option<f64>,
        /// Upper end of it.
        /// Unit: exponent.
        slope_b_high: Option<f64>,
        /// Whether that fit is actionable.
        actionable_b: bool,
        /// Whether the two t intervals have a value in common.
        intervals_overlap: Option<bool>,
        /// Models measured at both.
        n_common_models: usize,
        /// Geometric mean over these of metric at `b` ÷ metric at `a`. `None`: no such model, or the prompts differ too.
        /// Unit: ratio.
        metric_b_over_a: Option<f64>,
        /// Whether the conclusion is the same. `None`: cannot be told.
        conclusion_survives: Option<bool>,
        /// Why, in words.
        reason: String,
    }
}

/// What a shift compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Latency of the mode.
    LatencyMs,
    /// Latency per decode step.
    MsPerToken,
}

impl Metric {
    fn of(self, point: &Point<'_>) -> Option<f64> {
        match self {
            Self::LatencyMs => Some(point.latency_ms),
            Self::MsPerToken => point.ms_per_token,
        }
    }
}

/// `analysis/batch_shift.csv`.
pub struct BatchShift;

impl Table for BatchShift {
    type Row = ShiftRow;
    const FILE: &'static str = "analysis/batch_shift.csv";
    const ABOUT: &'static str =
        "Whether fits survive another batch: every batch against the smallest one at the same decode length.";

    fn derive(from: &Sources<'_>) -> Vec<ShiftRow> {
        let summary = from.rows::<Summary>();
        batch(&scopes(&summary), from.plan.fit)
    }
}

/// `analysis/decode_length_shift.csv`.
pub struct DecodeLengthShift;

impl Table for DecodeLengthShift {
    type Row = ShiftRow;
    const FILE: &'static str = "analysis/decode_length_shift.csv";
    const ABOUT: &'static str = "Whether fits survive another decode length: every length against the smallest one at the same batch and scenarios.";

    fn derive(from: &Sources<'_>) -> Vec<ShiftRow> {
        let summary = from.rows::<Summary>();
        decode_length(&scopes(&summary), from.plan.fit)
    }
}

/// Compares every batch with the smallest one at the same decode length: aggregates, and scenarios of equal prompts.
fn batch(scopes: &[Scope<'_>], axis: FitAxis) -> Vec<ShiftRow> {
    let related = |a: &Scope<'_>, b: &Scope<'_>| {
        let same_scope = match (a.kind, b.kind) {
            (ScopeKind::Aggregate, ScopeKind::Aggregate) => true,
            (ScopeKind::Scenario, ScopeKind::Scenario) => same_prompts(&common(a, b)),
            _ => false,
        };
        alike(a, b) && a.like.key.gen_tokens == b.like.key.gen_tokens && same_scope
    };
    let pairs = pairs(scopes, related, |scope| scope.like.key.batch);
    pairs.into_iter().filter_map(|(a, b)| row(a, b, axis, Metric::LatencyMs)).collect()
}

/// Compares every decode length with the smallest one at the same batch and scenarios, in latency and per step.
fn decode_length(scopes: &[Scope<'_>], axis: FitAxis) -> Vec<ShiftRow> {
    let related = |a: &Scope<'_>, b: &Scope<'_>| {
        let same_scope = a.kind == b.kind && (a.kind == ScopeKind::Aggregate || a.scenarios == b.scenarios);
        alike(a, b) && a.like.key.batch == b.like.key.batch && same_scope
    };
    let decodes: Vec<Scope<'_>> = scopes.iter().filter(|s| s.like.mode != Mode::Prefill).cloned().collect();
    let pairs = pairs(&decodes, related, |scope| scope.like.key.gen_tokens);
    let metrics = [Metric::LatencyMs, Metric::MsPerToken];
    pairs.into_iter().flat_map(|(a, b)| metrics.map(|metric| row(a, b, axis, metric))).flatten().collect()
}

fn alike(a: &Scope<'_>, b: &Scope<'_>) -> bool {
    a.like.key.backend == b.like.key.backend && a.like.key.dtype == b.like.key.dtype && a.like.mode == b.like.mode
}

/// Every scope with a larger value after the related scope with the smallest value.
fn pairs<'s, 'a>(
    scopes: &'s [Scope<'a>],
    related: impl Fn(&Scope<'a>, &Scope<'a>) -> bool,
    value: impl Fn(&Scope<'a>) -> u32,
) -> Vec<(&'s Scope<'a>, &'s Scope<'a>)> {
    let base = |scope: &Scope<'a>| {
        let smaller = scopes.iter().filter(|other| related(other, scope) && value(other) < value(scope));
        smaller.min_by_key(|other| value(other))
    };
    scopes.iter().filter_map(|scope| Some((base(scope)?, scope))).collect()
}

/// Models of both scopes, by weights.
fn common<'s, 'a>(a: &'s Scope<'a>, b: &'s Scope<'a>) -> Vec<(&'s Point<'a>, &'s Point<'a>)> {
    let partner =
        |point: &Point<'_>| b.points.iter().find(|other| other.row.key.weights_id == point.row.key.weights_id);
    a.points.iter().filter_map(|point| Some((point, partner(point)?))).collect()
}

/// Whether there are models in common and every one of them had prompts of the same lengths at both.
fn same_prompts(common: &[(&Point<'_>, &Point<'_>)]) -> bool {
    !common.is_empty() && common.iter().all(|(a, b)| !a.prompts.is_empty() && a.prompts == b.prompts)
}

/// One comparison. `None`: the metric is not defined for this mode.
fn row(a: &Scope<'_>, b: &Scope<'_>, axis: FitAxis, metric: Metric) -> Option<ShiftRow> {
    let (a, b) = (a.with(&[axis]), b.with(&[axis]));
    let (fit_a, fit_b) = (fitted(&a, axis, metric)?, fitted(&b, axis, metric)?);
    let models = common(&a, &b);
    let matched = same_prompts(&models);
    let ratios: Option<Vec<f64>> = models.iter().map(|(a, b)| Some(metric.of(b)? / metric.of(a)?)).collect();
    let verdict = if matched {
        verdict(&fit_a, &fit_b)
    } else {
        Survival::unknown("the prompts differ as well, so nothing can be said about this shift alone")
    };
    let slope = |fit: &Result<ScalingFit, String>| fit.as_ref().ok().map(|judged| judged.fit.slope());
    let actionable = |fit: &Result<ScalingFit, String>| fit.as_ref().is_ok_and(|judged| judged.gate.is_actionable());
    let (slope_a, slope_b) = (slope(&fit_a), slope(&fit_b));
    Some(ShiftRow {
        backend: a.like.key.backend.clone(),
        dtype: a.like.key.dtype,
        mode: a.like.mode,
        scope: a.kind,
        metric,
        fit_id_a: a.id(),
        fit_id_b: b.id(),
        scenario_a: a.scenario().map(str::to_owned),
        scenario_b: b.scenario().map(str::to_owned),
        batch_a: a.like.key.batch,
        batch_b: b.like.key.batch,
        gen_tokens_a: a.like.key.gen_tokens,
        gen_tokens_b: b.like.key.gen_tokens,
        slope_a: slope_a.map(|s| s.value),
        slope_a_low: slope_a.map(|s| s.interval.low),
        slope_a_high: slope_a.map(|s| s.interval.high),
        actionable_a: actionable(&fit_a),
        slope_b: slope_b.map(|s| s.value),
        slope_b_low: slope_b.map(|s| s.interval.low),
        slope_b_high: slope_b.map(|s| s.interval.high),
        actionable_b: actionable(&fit_b),
        intervals_overlap: slope_a.zip(slope_b).map(|(a, b)| overlap(a.interval, b.interval)),
        n_common_models: models.len(),
        metric_b_over_a: ratios.filter(|_| matched).and_then(|ratios| geometric_mean(&ratios)),
        conclusion_survives: verdict.survives,
        reason: verdict.reason,
    })
}

/// A scope's power law in a metric, or why there is none. `None`: the metric is not defined for this mode.
fn fitted(scope: &Scope<'_>, axis: FitAxis, metric: Metric) -> Option<Result<ScalingFit, String>> {
    let values: Option<Vec<f64>> = scope.points.iter().map(|point| metric.of(point)).collect();
    // A time per token is known as well as the time it is divided from.
    let fitted = fit::measured_scaling(&scope.column(axis), &values?, scope.errors().as_deref());
    Some(fitted.map_err(|error| explain(&error, &[axis_name(axis)])))
}

fn overlap(a: Interval, b: Interval) -> bool {
    a.low <= b.high && b.low <= a.high
}

struct Survival {
    survives: Option<bool>,
    reason: String,
}

impl Survival {
    fn unknown(reason: &str) -> Self {
        Self { survives: None, reason: reason.to_owned() }
    }
}

/// Whether two fits lead to the same conclusion.
fn verdict(a: &Result<ScalingFit, String>, b: &Result<ScalingFit, String>) -> Survival {
    let (a, b) = match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(why), _) => return Survival::unknown(&format!("no fit at the smaller value: {why}")),
        (_, Err(why)) => return Survival::unknown(&format!("no fit at the larger value: {why}")),
    };
    for (value, fit) in [("smaller", a), ("larger", b)] {
        let n = fit.fit.logs.n;
        if n < MIN_POINTS {
            return Survival::unknown(&format!("{n} models at the {value} value, at least {MIN_POINTS} are needed"));
        }
    }
    let (slope_a, slope_b) = (a.fit.slope(), b.fit.slope());
    let overlapping = overlap(slope_a.interval, slope_b.interval);
    let (survives, reason) = match (a.gate.reason(), b.gate.reason()) {
        (None, None) if slope_a.value.signum() != slope_b.value.signum() => {
            (false, "both fits are actionable, with slopes of opposite sign".to_owned())
        }
        (None, None) if overlapping => {
            (true, "both fits are actionable with the same sign and overlapping intervals".to_owned())
        }
        (None, None) => (true, "both fits are actionable with the same sign; how steep they are differs".to_owned()),
        (Some(_), Some(_)) if overlapping => {
            (true, "neither fit is actionable, and their intervals overlap".to_owned())
        }
        (Some(_), Some(_)) => (false, "neither fit is actionable, and their intervals do not overlap".to_owned()),
        (Some(why), None) => (false, format!("actionable only at the larger value; at the smaller one {why}")),
        (None, Some(why)) => (false, format!("actionable only at the smaller value; at the larger one {why}")),
    };
    Survival { survives: Some(survives), reason }
}
