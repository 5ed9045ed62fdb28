//! `decode_linearity.csv`, `decode_projection_error.csv`: how decode time follows from the number of new tokens, and
//! what the time of a short answer says about a longer one.
//!
//! An engine that counts N new tokens and times N − 1 steps, because the first token falls out of the prefill, needs
//! the *step* form, time ÷ (N − 1). The *proportional* form, time ÷ N, is right where the first token is timed too.

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::terms::{Degraded, Dtype, Mode, Regime, Role};

use super::aggregate::distinct;
use super::columns::columns;
use super::groups::{Group, by_cell};
use super::metrics::Metrics;
use super::metrics::{MetricRow, Standing};
use super::table::{Sources, Table};

mod forms;

pub use forms::{DecodeForm, Linearity, Point, Projection, judge, project};
use forms::{medians, usable};

columns! {
    /// One model on one backend: its calls that were timed on a warm engine and made a step or more, whole or ended early.
    pub struct DecodeLinearityRow {
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// Hash of the weights.
        weights_id: String,
        /// Element type of the session.
        dtype: Dtype,
        /// Rows decoded together.
        batch: u32,
        /// Scenarios of the calls, joined by `;`.
        scenarios: String,
        /// Calls.
        n_calls: usize,
        /// Different counts of new tokens.
        n_counts: usize,
        /// Smallest count. `None`: no call.
        /// Unit: tokens.
        count_min: Option<f64>,
        /// Largest count. `None`: no call.
        /// Unit: tokens.
        count_max: Option<f64>,
        /// R² of `ms = a + b · count`. `None`, here and in the two below: no fit.
        /// Unit: fraction.
        r2: Option<f64>,
        /// b: what one more token takes.
        slope_ms_per_step: Option<f64>,
        /// a ÷ b: −1 where the first token is not timed, 0 where it is.
        /// Unit: steps.
        intercept_steps: Option<f64>,
        /// Largest ÷ smallest of the medians ÷ (count − 1). `None`: no call.
        /// Unit: ratio.
        step_spread: Option<f64>,
        /// Largest ÷ smallest of the medians ÷ count. `None`: no call.
        /// Unit: ratio.
        proportional_spread: Option<f64>,
        /// Where the calls lie between the forms: 0 is step, 1 is proportional. The slope of ln(time ÷ (count − 1)) on
        /// ln(count ÷ (count − 1)), with a level of its own for each prompt. `None`, here and in the two below: not told.
        /// Source: common slope of logarithms within prompts, by least squares.
        /// Unit: place between 0 and 1.
        between_forms: Option<f64>,
        /// Lower end of its 95 % interval.
        /// Unit: place between 0 and 1.
        between_forms_low: Option<f64>,
        /// Upper end of it.
        /// Unit: place between 0 and 1.
        between_forms_high: Option<f64>,
        /// The form that is right.
        form: DecodeForm,
        /// Why that form, or why none.
        reason: String,
    }
}

columns! {
    /// The time at the largest count as it would be guessed from one smaller count.
    pub struct DecodeProjectionErrorRow {
        /// Backend name.
        backend: String,
        /// Model name.
        model: String,
        /// Hash of the weights.
        weights_id: String,
        /// Element type of the session.
        dtype: Dtype,
        /// Rows decoded together.
        batch: u32,
        /// Count projected from.
        /// Unit: tokens.
        count: f64,
        /// Largest count.
        /// Unit: tokens.
        count_target: f64,
        /// Median time at the largest count.
        measured_ms: f64,
        /// Time ÷ count × target.
        proportional_ms: f64,
        /// Time ÷ (count − 1) × (target − 1).
        step_ms: f64,
        /// By a line through the medians at all counts below the target. `None`: fewer than three.
        affine_ms: Option<f64>,
        /// `proportional_ms` ÷ `measured_ms` − 1.
        /// Unit: fraction.
        proportional_error: f64,
        /// The same of `step_ms`.
        /// Unit: fraction.
        step_error: f64,
        /// The same of `affine_ms`. `None`: as there.
        /// Unit: fraction.
        affine_error: Option<f64>,
    }
}

/// The calls that are looked at together.
struct Calls<'a> {
    like: &'a Group<'a>,
    scenarios: Vec<&'a str>,
    points: Vec<Point>,
}

/// `analysis/decode_linearity.csv`.
pub struct DecodeLinearity;

impl Table for DecodeLinearity {
    type Row = DecodeLinearityRow;
    const FILE: &'static str = "analysis/decode_linearity.csv";
    const ABOUT: &'static str = "What a decode time must be divided by, per backend and model, in the plan's order.";

    fn derive(from: &Sources<'_>) -> Vec<DecodeLinearityRow> {
        let metrics = from.rows::<Metrics>();
        let cells = looked_at(from, &metrics);
        calls(&cells).par_iter().map(|calls| row(calls, &judge(&calls.points))).collect()
    }
}

/// `analysis/decode_projection_error.csv`.
pub struct DecodeProjectionError;

impl Table for DecodeProjectionError {
    type Row = DecodeProjectionErrorRow;
    const FILE: &'static str = "analysis/decode_projection_error.csv";
    const ABOUT: &'static str = "How far off the longest answer is when it is guessed from a shorter one.";

    fn derive(from: &Sources<'_>) -> Vec<DecodeProjectionErrorRow> {
        let metrics = from.rows::<Metrics>();
        let cells = looked_at(from, &metrics);
        let of_calls = |calls: Calls<'_>| {
            let projections = project(&medians(&usable(&calls.points)));
            projections.into_iter().map(|projection| projected(calls.like, &projection)).collect::<Vec<_>>()
        };
        calls(&cells).into_par_iter().flat_map_iter(of_calls).collect()
    }
}

/// The decode rows that both tables are made from.
fn looked_at<'a>(from: &'a Sources<'_>, metrics: &'a [MetricRow]) -> Vec<Group<'a>> {
    by_cell(from, metrics, |row| row.mode == Mode::KvDecode && is_looked_at(row))
}

/// Whether a call of one or more steps went well, or at least until it ended early.
fn is_looked_at(row: &MetricRow) -> bool {
    let ended_early = matches!(row.degraded_kind, Some(Degraded::EarlyStop | Degraded::TooShort));
    row.role == Role::Timed
        && row.regime == Regime::Warm
        && (row.status == Standing::Ok && !row.made_again || ended_early)
        && row.decode_steps_timed() > 0
}

/// Pools the cells whose decode must follow the same form; none without a call.
fn calls<'a>(cells: &'a [Group<'a>]) -> Vec<Calls<'a>> {
    let mut pools: Vec<Vec<&Group<'_>>> = Vec::new();
    for cell in cells {
        match pools.iter_mut().find(|pool| are_alike(pool[0], cell)) {
            Some(pool) => pool.push(cell),
            None => pools.push(vec![cell]),
        }
    }
    pools.par_iter().filter_map(|pool| Calls::of(pool)).collect()
}

/// Whether two cells have the same weights on the same backend, and as many rows.
fn are_alike(a: &Group<'_>, b: &Group<'_>) -> bool {
    a.cell.session == b.cell.session
        && a.cell.batch == b.cell.batch
        && a.key.weights_id == b.key.weights_id
        && a.key.dtype == b.key.dtype
}

impl<'a> Calls<'a> {
    /// `None`: no call says how many tokens it made and how long that took.
    fn of(pool: &[&'a Group<'a>]) -> Option<Self> {
        let scenarios = distinct(pool.iter().map(|cell| cell.cell.scenario.as_str()));
        let mut points = Vec::new();
        for cell in pool {
            let prompt = scenarios.iter().position(|name| *name == cell.cell.scenario)?;
            let measured = cell.rows.iter().filter_map(|row| row.new_tokens().zip(row.decode_measured_ms()));
            points.extend(measured.map(|(count, ms)| Point { count, ms, prompt }));
        }
        let like = pool.first().copied()?;
        (!points.is_empty()).then_some(Self { like, scenarios, points })
    }
}

fn row(calls: &Calls<'_>, judged: &Linearity) -> DecodeLinearityRow {
    let line = judged.line.as_ref();
    DecodeLinearityRow {
        backend: calls.like.cell.session.backend.clone(),
        model: calls.like.cell.session.model.clone(),
        weights_id: calls.like.key.weights_id.clone(),
        dtype: calls.like.key.dtype,
        batch: calls.like.cell.batch,
        scenarios: calls.scenarios.join(";"),
        n_calls: judged.n,
        n_counts: judged.medians.len(),
        count_min: judged.medians.first().map(|(count, _)| *count),
        count_max: judged.medians.last().map(|(count, _)| *count),
        r2: line.map(|line| line.r2),
        slope_ms_per_step: line.map(|line| line.slope.value),
        intercept_steps: line.filter(|line| line.slope.value > 0.0).map(|line| line.intercept.value / line.slope.value),
        step_spread: judged.step_spread,
        proportional_spread: judged.proportional_spread,
        between_forms: judged.between.map(|estimate| estimate.value),
        between_forms_low: judged.between.map(|estimate| estimate.interval.low),
        between_forms_high: judged.between.map(|estimate| estimate.interval.high),
        form: judged.form,
        reason: judged.reason.clone(),
    }
}

fn projected(like: &Group<'_>, projection: &Projection) -> DecodeProjectionErrorRow {
    DecodeProjectionErrorRow {
        backend: like.cell.session.backend.clone(),
        model: like.cell.session.model.clone(),
        weights_id: like.key.weights_id.clone(),
        dtype: like.key.dtype,
        batch: like.cell.batch,
        count: projection.from,
        count_target: projection.to,
        measured_ms: projection.measured_ms,
        proportional_ms: projection.proportional_ms,
        step_ms: projection.step_ms,
        affine_ms: projection.affine_ms,
        proportional_error: projection.error(projection.proportional_ms),
        step_error: projection.error(projection.step_ms),
        affine_error: projection.affine_ms.map(|ms| projection.error(ms)),
    }
}
