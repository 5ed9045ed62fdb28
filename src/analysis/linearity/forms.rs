//! Which form the decode times of one model follow, and how far off a guess by the other form is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::fit;
use crate::stats::interval::Estimate;
use crate::stats::summary::median;

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
pub enum DecodeForm {
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
    pub form: DecodeForm,
    /// Why.
    pub reason: String,
}

/// Judges the calls of one model on one engine.
#[must_use]
pub fn judge(points: &[Point]) -> Linearity {
    let points = usable(points);
    let medians = medians(&points);
    let counts: Vec<f64> = points.iter().map(|point| point.count).collect();
    let times: Vec<f64> = points.iter().map(|point| point.ms).collect();
    let between = between(&points);
    let (form, reason) = match &between {
        Ok(estimate) => verdict(estimate),
        Err(why) => (DecodeForm::Undecided, why.clone()),
    };
    Linearity {
        n: points.len(),
        line: fit::line(&counts, &times).ok(),
        step_spread: spread(medians.iter().map(|(count, ms)| ms / (count - 1.0))),
        proportional_spread: spread(medians.iter().map(|(count, ms)| ms / count)),
        between: between.ok(),
        form,
        reason,
        medians,
    }
}

/// Largest ÷ smallest. `None`: no value.
fn spread(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    Some(values.clone().reduce(f64::max)? / values.reduce(f64::min)?)
}

fn verdict(between: &Estimate) -> (DecodeForm, String) {
    let interval = between.interval;
    let place = format!(
        "between step (0) and proportional (1) the calls lie at {:.2} [{:.2}, {:.2}]",
        between.value, interval.low, interval.high
    );
    match () {
        () if interval.high < 0.5 => (DecodeForm::Step, place),
        () if interval.low > 0.5 => (DecodeForm::Proportional, place),
        () => (DecodeForm::Undecided, format!("{place}, which may be nearer to either")),
    }
}

/// See [`Linearity::between`]; else why it is not told.
fn between(points: &[Point]) -> Result<Estimate, String> {
    let ranges = ranges(points);
    let apart = ranges.values().map(|(low, high)| step_over_proportional(*low) / step_over_proportional(*high) - 1.0);
    let furthest = apart.reduce(f64::max).ok_or("all calls after a prompt made as many tokens")?;
    if furthest < TOLD_APART {
        return Err(format!("the forms differ by no more than {:.1} % over these counts", furthest * 100.0));
    }
    let varied: Vec<&Point> = points.iter().filter(|point| ranges.contains_key(&point.prompt)).collect();
    let x: Vec<f64> = varied.iter().map(|point| step_over_proportional(point.count).ln()).collect();
    let y: Vec<f64> = varied.iter().map(|point| (point.ms / (point.count - 1.0)).ln()).collect();
    let prompts: Vec<usize> = varied.iter().map(|point| point.prompt).collect();
    fit::common_slope(&x, &y, &prompts).map_err(|error| error.to_string())
}

/// A time divided as the step form does, over the same divided as the proportional form does.
fn step_over_proportional(count: f64) -> f64 {
    count / (count - 1.0)
}

/// Smallest and largest count after each prompt. One whose calls all made as many tokens says nothing about the form, and
/// is not there.
fn ranges(points: &[Point]) -> BTreeMap<usize, (f64, f64)> {
    let mut ranges: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for point in points {
        let (low, high) = ranges.entry(point.prompt).or_insert((point.count, point.count));
        *low = low.min(point.count);
        *high = high.max(point.count);
    }
    ranges.retain(|_, (low, high)| low < high);
    ranges
}

/// The calls of more than one token.
pub(super) fn usable(points: &[Point]) -> Vec<Point> {
    points.iter().copied().filter(|point| point.count > 1.0 && point.ms > 0.0).collect()
}

/// Every count with the median time at it, ascending.
pub(super) fn medians(points: &[Point]) -> Vec<(f64, f64)> {
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
