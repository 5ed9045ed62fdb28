//! Power of a device that does nothing: what a figure's net part is measured against.

use serde::{Deserialize, Serialize};

use crate::energy::check::MOST_DIFFERENT;
use crate::energy::edges::Edges;
use crate::energy::{Sample, Trace, deviation, mean};
use crate::terms::energy::IdleKind;
use crate::units::Nanos;

/// Idle power.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    /// What idled.
    pub kind: IdleKind,
    /// Mean power in watts.
    pub watts: f64,
    /// Its standard uncertainty in watts.
    pub u_watts: f64,
    /// Length of the stretch.
    pub seconds: f64,
    /// Whether counter and power reading differ by more than 5 %. `None`: one of them is not there.
    pub registers_differ: Option<bool>,
    /// Why it may not be used. `None`: it may.
    pub invalid: Option<String>,
}

/// States of a device that do not move while it idles; empty where it does not tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct States {
    /// Of the chip, in degrees Celsius.
    pub temperature: Vec<Sample>,
    /// Of its processors, in MHz.
    pub clock: Vec<Sample>,
    /// The driver's performance state.
    pub performance: Vec<Sample>,
}

/// A stretch in which a device was left alone, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Rest<'a> {
    /// What idled.
    pub kind: IdleKind,
    /// What the sensor said.
    pub trace: &'a Trace,
    /// What the device said of itself.
    pub states: &'a States,
    /// The polling period.
    pub poll: Nanos,
    /// Time until the sensor shows nothing that came before.
    pub settling: Nanos,
    /// When it began.
    pub begin: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// Processes of others that used the device right before or after. `None`: not told.
    pub foreign: Option<u32>,
}

/// Blocks that the stretch is divided into.
const BLOCKS: u32 = 6;

/// Fastest change of idle power, in watts per second.
const LARGEST_DRIFT: f64 = 0.1;

/// Standard errors by which a change must be beyond that: of a line through six blocks so many are by chance once in a
/// hundred.
const SURE: f64 = 4.0;

/// Most that a block may lie from the others, and a second stretch from the first: in watts, and relative.
const LARGEST_STEP: (f64, f64) = (3.0, 0.03);

/// Degrees that the temperature may move within [`WARMING`].
const MOST_DEGREES: f64 = 2.0;

/// Seconds over which the temperature is judged.
const WARMING: f64 = 30.0;

/// Most that the clock may move, relative: it changes in steps.
const CLOCK_STEP: f64 = 0.02;

/// The sensor's settling is left out of a stretch, at most this share of it.
const LEFT_OUT: u64 = 10;

/// Mean power of a block, and what the times of the counter's updates leave open of it.
#[derive(Debug, Clone, Copy)]
struct Block {
    watts: f64,
    open: f64,
}

impl Idle {
    /// Idle power of a stretch. `None`: no register was read often enough.
    #[must_use]
    pub fn of(rest: &Rest<'_>) -> Option<Self> {
        let Rest { kind, trace, states, end, .. } = *rest;
        let begin = rest.begin + Nanos(rest.settling.0.min(end.since(rest.begin).0 / LEFT_OUT));
        let edges = Edges::of(&trace.counter, rest.poll);
        let length = end.since(begin).0 / u64::from(BLOCKS);
        let block = |i: u32| (Nanos(begin.0 + u64::from(i) * length), Nanos(begin.0 + u64::from(i + 1) * length));
        let counted: Option<Vec<Block>> = (0..BLOCKS).map(|i| slope(&edges, block(i))).collect();
        let read: Option<Vec<Block>> = (0..BLOCKS).map(|i| level(&trace.instant, block(i))).collect();
        let averaged: Option<Vec<Block>> = (0..BLOCKS).map(|i| level(&trace.average, block(i))).collect();
        let seen = read.or(averaged);
        let blocks = counted.clone().or_else(|| seen.clone())?;
        let of = |blocks: &[Block]| mean(&watts(blocks));
        let watts = match slope(&edges, (begin, end)) {
            Some(whole) if counted.is_some() => whole.watts,
            _ => of(&blocks),
        };
        let mut u_watts = deviation(&self::watts(&blocks)) / f64::from(BLOCKS).sqrt();
        let seen = seen.map(|seen| of(&seen)).filter(|_| counted.is_some());
        let registers_differ = seen.map(|seen| (watts - seen).abs() > MOST_DIFFERENT * seen.abs());
        if registers_differ == Some(true) {
            // Nothing tells which of the two is right.
            u_watts = u_watts.max(seen.map_or(0.0, |seen| (watts - seen).abs() / 2.0));
        }
        let seconds = end.since(begin).as_secs();
        let invalid = edges.reset_in(begin, end).then(|| "the counter started again".to_owned());
        let invalid = invalid
            .or_else(|| rest.foreign.filter(|n| *n > 0).map(|n| format!("{n} processes of others were on the device")))
            .or_else(|| states.moved(begin, end))
            .or_else(|| unsteady(&blocks))
            .or_else(|| drifting(&blocks, seconds / f64::from(BLOCKS)));
        Some(Self { kind, watts, u_watts, seconds, registers_differ, invalid })
    }

    /// How much a second measurement after the run differs, and whether that is more than idle power moves.
    #[must_use]
    pub fn drift_to(&self, after: &Self) -> (f64, bool) {
        let drift = (after.watts - self.watts).abs();
        (drift, drift > step(self.watts))
    }

    /// The same, with what a drift leaves open: it may have come at any time, so half of it is uncertain.
    #[must_use]
    pub fn drifted(mut self, drift: f64) -> Self {
        self.u_watts = self.u_watts.max(drift / 2.0);
        self
    }
}

/// Most that idle power of so many watts moves.
fn step(watts: f64) -> f64 {
    LARGEST_STEP.0.max(LARGEST_STEP.1 * watts)
}

fn watts(blocks: &[Block]) -> Vec<f64> {
    blocks.iter().map(|block| block.watts).collect()
}

impl States {
    /// What moved between two times that does not move while a device idles. `None`: nothing.
    fn moved(&self, begin: Nanos, end: Nanos) -> Option<String> {
        let inside = |samples: &[Sample]| -> Vec<(f64, f64)> {
            let inside = samples.iter().filter(|s| s.at() >= begin && s.at() <= end);
            inside.filter_map(|sample| Some((sample.at().as_secs(), sample.value?))).collect()
        };
        let range = |values: &[(f64, f64)]| {
            let each = || values.iter().map(|value| value.1);
            (each().fold(f64::INFINITY, f64::min), each().fold(f64::NEG_INFINITY, f64::max))
        };
        let (temperature, clock, performance) =
            (inside(&self.temperature), inside(&self.clock), inside(&self.performance));
        let from = |i: usize| {
            let near = temperature[i..].iter().take_while(|(at, _)| *at <= temperature[i].0 + WARMING);
            near.copied().collect::<Vec<_>>()
        };
        let warming = (0..temperature.len()).map(|i| range(&from(i))).find(|(low, high)| high - low > MOST_DEGREES);
        let (low, high) = range(&performance);
        let state = (high > low).then(|| format!("the performance state changed between {low} and {high}"));
        let (low, high) = range(&clock);
        let clock = (high - low > CLOCK_STEP * high).then(|| format!("the clock moved from {low} to {high} MHz"));
        let warming = warming.map(|(low, high)| format!("the temperature moved from {low} to {high} °C within 30 s"));
        state.or(clock).or(warming)
    }
}

/// A block that is not like the others.
fn unsteady(blocks: &[Block]) -> Option<String> {
    let mut sorted = watts(blocks);
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = f64::midpoint(sorted[middle - 1], sorted[middle]);
    let apart = |block: &&Block| (block.watts - median).abs() - 3.0 * block.open;
    let worst = blocks.iter().max_by(|a, b| apart(a).total_cmp(&apart(b)))?;
    let most = step(median);
    (apart(&worst) > most).then(|| {
        format!("power was {:.1} W for a part of it and {median:.1} W else, {most:.1} W apart are idle", worst.watts)
    })
}

/// A line through blocks of so many seconds that rises or falls faster than idle power does.
fn drifting(blocks: &[Block], seconds: f64) -> Option<String> {
    let (watts, n) = (watts(blocks), f64::from(BLOCKS));
    let middle = mean(&watts);
    let place = |i: usize| (u32::try_from(i).map_or(0.0, f64::from) - (n - 1.0) / 2.0) * seconds;
    let spread: f64 = (0..watts.len()).map(|i| place(i).powi(2)).sum();
    let drift = watts.iter().enumerate().map(|(i, watts)| place(i) * (watts - middle)).sum::<f64>() / spread;
    let left: f64 = watts.iter().enumerate().map(|(i, watts)| (watts - middle - drift * place(i)).powi(2)).sum();
    let open = blocks.iter().map(|block| block.open).fold(0.0, f64::max);
    let error = (left / (n - 2.0)).sqrt().max(open) / spread.sqrt();
    (drift.abs() > LARGEST_DRIFT + SURE * error)
        .then(|| format!("power changed by {drift:+.2} W/s, at most {LARGEST_DRIFT} W/s are idle"))
}

fn slope(edges: &Edges, (begin, end): (Nanos, Nanos)) -> Option<Block> {
    let inside = edges.inside(begin, end);
    let (first, last) = (inside.first()?, inside.last()?);
    let span = last.at.since(first.at).as_secs();
    let watts = (last.joules - first.joules) / span;
    let spacing = first.spacing.max(last.spacing).as_secs();
    (inside.len() >= 3).then(|| Block { watts, open: watts.abs() * spacing / (6.0_f64.sqrt() * span) })
}

fn level(samples: &[Sample], (begin, end): (Nanos, Nanos)) -> Option<Block> {
    let inside = samples.iter().filter(|s| s.at() >= begin && s.at() < end);
    let inside: Vec<f64> = inside.filter_map(Sample::watts).collect();
    (inside.len() >= 3).then(|| Block { watts: mean(&inside), open: 0.0 })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
