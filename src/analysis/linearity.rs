//! `decode_linearity.csv`, `decode_projection_error.csv`: how decode time follows from the number of new tokens, and
//! what the time of a short answer says about a longer one.
//!
//! An engine that counts N new tokens and times N − 1 steps, because the first token falls out of the prefill, needs
//! the *step* form, time ÷ (N − 1). The *proportional* form, time ÷ N, is right where the first token is timed too.

use serde::{Deserialize, Serialize};

use crate::record::plan::Plan;
use crate::stats::fit;
use crate::stats::interval::Estimate;
use crate::stats::summary::median;
use crate::terms::{Degraded, Dtype, Mode, Regime, Role};

use super::aggregate::distinct;
use super::columns::columns;
use super::groups::{Group, groups};
use super::metrics::Metrics;
use super::metrics::{MetricRow, Standing};
use super::table::{Sources, Table};

/// The forms differ by less than this share where the counts are too alike to tell them apart.
const TOLD_APART: f64 = 0.05;

/// The decode of one call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// New tokens of a row as the engine counts them, the first one from the prefill included.
    pub count: f64,
    /// Decode time in milliseconds.
    pub ms: f64,
    /// Number of the prompt. A step takes longer after a longer prompt, so steps are compared within one.
    pub prompt: usize,
}

/// How decode time follows from the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As count − 1.
    Step,
    /// As the count.
    Proportional,
    /// The calls do not tell.
    Undecided,
}

/// What calls of different counts say together.
#[derive(Debug, Clone, PartialEq)]
pub struct Linearity {
    /// Calls looked at: those of more than one token.
    pub n: usize,
    /// Different counts among them with their median times in milliseconds, ascending.
    pub medians: Vec<(f64, f64)>,
    /// `ms = a + b · count` through all calls. `None`: fewer than three, or all alike.
    pub line: Option<fit::Line>,
    /// Largest ÷ smallest of the medians ÷ (count − 1). `None`: no call.
    pub step_spread: Option<f64>,
    /// Largest ÷ smallest of the medians ÷ count. `None`: no call.
    pub proportional_spread: Option<f64>,
    /// Where the calls lie between the forms: 0 is step, 1 is proportional. The slope of ln(ms ÷ (count − 1)) on
    /// ln(count ÷ (count − 1)), with a level of its own for each prompt. `None`: `reason` says why.
    pub between: Option<Estimate>,
    /// The form whose side of the middle the whole 95 % interval of `between` is on.
    pub form: Form,
    /// Why.
    pub reason: String,
}

/// Judges the calls of one model on one engine.
#[must_use]
pub fn judge(points: &[Point]) -> Linearity {
    let points = usable(points);
    let medians = medians(&points);
    let spread = |unit: fn(f64) -> f64| {
        let per_unit = || medians.iter().map(|(count, ms)| ms / unit(*count));
        Some(per_unit().reduce(f64::max)? / per_unit().reduce(f64::min)?)
    };
    let column = |value: fn(&Point) -> f64| points.iter().map(value).collect::<Vec<f64>>();
    let between = between(&points);
    let (form, reason) = match &between {
        Ok(estimate) => verdict(estimate),
        Err(why) => (Form::Undecided, why.clone()),
    };
    Linearity {
        n: points.len(),
        line: fit::line(&column(|p| p.count), &column(|p| p.ms)).ok(),
        step_spread: spread(|count| count - 1.0),
        proportional_spread: spread(|count| count),
        between: between.ok(),
        form,
        reason,
        medians,
    }
}

fn verdict(between: &Estimate) -> (Form, String) {
    let interval = between.interval;
    let place = format!(
        "between step (0) and proportional (1) the calls lie at {:.2} [{:.2}, {:.2}]",
        between.value, interval.low, interval.high
    );
    match () {
        () if interval.high < 0.5 => (Form::Step, place),
        () if interval.low > 0.5 => (Form::Proportional, place),
        () => (Form::Undecided, format!("{place}, which may be nearer to either")),
    }
}

fn between(points: &[Point]) -> Result<Estimate, String> {
    let ratio = |count: f64| count / (count - 1.0);
    let range = |prompt: usize| {
        let counts = || points.iter().filter(|p| p.prompt == prompt).map(|p| p.count);
        counts().reduce(f64::min).zip(counts().reduce(f64::max))
    };
    // A prompt whose calls all made as many tokens says nothing about the form.
    let varied = |p: &&Point| range(p.prompt).is_some_and(|(low, high)| low < high);
    let points: Vec<&Point> = points.iter().filter(varied).collect();
    let told = points.iter().filter_map(|p| range(p.prompt)).map(|(low, high)| ratio(low) / ratio(high) - 1.0);
    match told.reduce(f64::max) {
        None => return Err("all calls after a prompt made as many tokens".to_owned()),
        Some(told) if told < TOLD_APART => {
            return Err(format!("the forms differ by no more than {:.1} % over these counts", told * 100.0));
        }
        Some(_) => {}
    }
    let column = |value: fn(&Point) -> f64| points.iter().map(|p| value(p)).collect::<Vec<f64>>();
    let x = column(|p| (p.count / (p.count - 1.0)).ln());
    let y = column(|p| (p.ms / (p.count - 1.0)).ln());
    let prompts: Vec<usize> = points.iter().map(|p| p.prompt).collect();
    fit::common_slope(&x, &y, &prompts).map_err(|error| error.to_string())
}

/// The calls of more than one token.
fn usable(points: &[Point]) -> Vec<Point> {
    points.iter().copied().filter(|point| point.count > 1.0 && point.ms > 0.0).collect()
}

/// Every count with the median time at it, ascending.
fn medians(points: &[Point]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.count.total_cmp(&b.count));
    let same = sorted.chunk_by(|a, b| a.count == b.count);
    same.filter_map(|calls| {
        let times: Vec<f64> = calls.iter().map(|p| p.ms).collect();
        Some((calls.first()?.count, median(&times)?))
    })
    .collect()
}

/// What the median time at one count says about the largest count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Projection {
    /// Count projected from.
    pub from: f64,
    /// Largest count.
    pub to: f64,
    /// Median time at the largest count, in milliseconds.
    pub measured_ms: f64,
    /// Time ÷ `from` × `to`.
    pub proportional_ms: f64,
    /// Time ÷ (`from` − 1) × (`to` − 1).
    pub step_ms: f64,
    /// A line through the medians at all counts below `to`, the same for every `from`. `None`: fewer than three.
    pub affine_ms: Option<f64>,
}

impl Projection {
    /// A predicted time ÷ the measured one − 1.
    #[must_use]
    pub fn error(&self, predicted_ms: f64) -> f64 {
        predicted_ms / self.measured_ms - 1.0
    }
}

/// Projects the median at every count to the largest. Empty: fewer than two counts.
#[must_use]
pub fn project(medians: &[(f64, f64)]) -> Vec<Projection> {
    let Some((&(to, measured_ms), below)) = medians.split_last() else {
        return Vec::new();
    };
    let (counts, times): (Vec<f64>, Vec<f64>) = below.iter().copied().unzip();
    let affine_ms = fit::line(&counts, &times).ok().map(|line| line.at(to));
    let projection = |&(from, ms): &(f64, f64)| Projection {
        from,
        to,
        measured_ms,
        proportional_ms: ms / from * to,
        step_ms: ms / (from - 1.0) * (to - 1.0),
        affine_ms,
    };
    below.iter().map(projection).collect()
}

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
        form: Form,
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
        let cells = looked_at(from.plan, &metrics);
        calls(&cells).iter().map(|calls| row(calls, &judge(&calls.points))).collect()
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
        let cells = looked_at(from.plan, &metrics);
        let of_calls = |calls: Calls<'_>| {
            let projections = project(&medians(&usable(&calls.points)));
            projections.into_iter().map(|projection| projected(calls.like, &projection)).collect::<Vec<_>>()
        };
        calls(&cells).into_iter().flat_map(of_calls).collect()
    }
}

/// The decode rows that both tables are made from.
fn looked_at<'a>(plan: &'a Plan, metrics: &'a [MetricRow]) -> Vec<Group<'a>> {
    groups(plan, metrics.iter().filter(|row| row.mode == Mode::KvDecode && is_looked_at(row)))
}

/// Whether a call of one or more steps went well, or at least until it ended early.
fn is_looked_at(row: &MetricRow) -> bool {
    let ended_early = matches!(row.degraded_kind, Some(Degraded::EarlyStop | Degraded::TooShort));
    row.role == Role::Timed
        && row.regime == Regime::Warm
        && (row.status == Standing::Ok || ended_early)
        && row.decode_steps_timed > 0
}

fn calls<'a>(cells: &'a [Group<'a>]) -> Vec<Calls<'a>> {
    let alike = |a: &Group<'_>, b: &Group<'_>| {
        a.cell.session == b.cell.session
            && a.cell.batch == b.cell.batch
            && (&a.key.weights_id, a.key.dtype) == (&b.key.weights_id, b.key.dtype)
    };
    let mut found: Vec<Vec<&Group<'_>>> = Vec::new();
    for cell in cells {
        match found.iter_mut().find(|cells| alike(cells[0], cell)) {
            Some(cells) => cells.push(cell),
            None => found.push(vec![cell]),
        }
    }
    let of = |cells: Vec<&'a Group<'a>>| {
        let scenarios = distinct(cells.iter().map(|cell| cell.cell.scenario.as_str()));
        let prompt =
            |cell: &Group<'_>| scenarios.iter().position(|name| *name == cell.cell.scenario).unwrap_or_default();
        let point = |cell: &Group<'_>, row: &MetricRow| {
            Some(Point { count: row.new_tokens?, ms: row.decode_measured_ms?, prompt: prompt(cell) })
        };
        let points = cells.iter().flat_map(|cell| cell.rows.iter().filter_map(move |row| point(cell, row))).collect();
        Some(Calls { like: cells.first().copied()?, scenarios, points })
    };
    found.into_iter().filter_map(of).filter(|calls| !calls.points.is_empty()).collect()
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
