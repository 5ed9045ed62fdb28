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

impl Rest<'_> {
    /// When nothing that came before shows any more; where the sensor settles slowly, some of that is left in.
    fn settled(&self) -> Nanos {
        let most = self.end.since(self.begin).0 / LEFT_OUT;
        self.begin + Nanos(self.settling.0.min(most))
    }
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
        let (begin, end) = (rest.settled(), rest.end);
        let parts = parts(begin, end);
        let edges = Edges::of(&rest.trace.counter, rest.poll);
        let counted: Option<Vec<Block>> = parts.iter().map(|&part| slope(&edges, part)).collect();
        let read = levels(&rest.trace.instant, &parts).or_else(|| levels(&rest.trace.average, &parts));
        let blocks = counted.as_ref().or(read.as_ref())?;
        // A counter is more exact over the whole than over its parts.
        let whole = slope(&edges, (begin, end)).filter(|_| counted.is_some());
        let watts = whole.map_or_else(|| mean(&powers(blocks)), |whole| whole.watts);
        let mut u_watts = deviation(&powers(blocks)) / f64::from(BLOCKS).sqrt();
        let both = counted.as_ref().and(read.as_ref());
        let read_watts = both.map(|read| mean(&powers(read)));
        let registers_differ = read_watts.map(|read| (watts - read).abs() > MOST_DIFFERENT * read.abs());
        if registers_differ == Some(true) {
            // Nothing tells which of the two is right.
            u_watts = u_watts.max(read_watts.map_or(0.0, |read| (watts - read).abs() / 2.0));
        }
        let invalid = unusable(rest, &edges, blocks);
        let seconds = end.since(begin).as_secs();
        Some(Self { kind: rest.kind, watts, u_watts, seconds, registers_differ, invalid })
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

fn powers(blocks: &[Block]) -> Vec<f64> {
    blocks.iter().map(|block| block.watts).collect()
}

/// Begin and end of the blocks of a stretch.
fn parts(begin: Nanos, end: Nanos) -> Vec<(Nanos, Nanos)> {
    let length = end.since(begin).0 / u64::from(BLOCKS);
    let bounds: Vec<Nanos> = (0..=u64::from(BLOCKS)).map(|i| Nanos(begin.0 + i * length)).collect();
    bounds.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Why idle power of a stretch may not be used. `None`: it may.
fn unusable(rest: &Rest<'_>, edges: &Edges, blocks: &[Block]) -> Option<String> {
    let (begin, end) = (rest.settled(), rest.end);
    if edges.reset_in(begin, end) {
        return Some("the counter started again".to_owned());
    }
    if let Some(n) = rest.foreign.filter(|n| *n > 0) {
        return Some(format!("{n} processes of others were on the device"));
    }
    let seconds = end.since(begin).as_secs();
    let moved = rest.states.moved(begin, end);
    moved.or_else(|| unsteady(blocks)).or_else(|| drifting(blocks, seconds / f64::from(BLOCKS)))
}

impl States {
    /// What moved between two times that does not move while a device idles. `None`: nothing.
    fn moved(&self, begin: Nanos, end: Nanos) -> Option<String> {
        let (low, high) = range(&inside(&self.performance, begin, end));
        if high > low {
            return Some(format!("the performance state changed between {low} and {high}"));
        }
        let (low, high) = range(&inside(&self.clock, begin, end));
        if high - low > CLOCK_STEP * high {
            return Some(format!("the clock moved from {low} to {high} MHz"));
        }
        let (low, high) = warming(&inside(&self.temperature, begin, end))?;
        Some(format!("the temperature moved from {low} to {high} °C within 30 s"))
    }
}

/// Values between two times, each with its second.
fn inside(samples: &[Sample], begin: Nanos, end: Nanos) -> Vec<(f64, f64)> {
    let inside = samples.iter().filter(|sample| sample.at() >= begin && sample.at() <= end);
    inside.filter_map(|sample| Some((sample.at().as_secs(), sample.value?))).collect()
}

/// Smallest and largest value. Of none: the first is above the second.
fn range(values: &[(f64, f64)]) -> (f64, f64) {
    let low = values.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = values.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

/// The first temperatures, lowest and highest, that are too far apart within [`WARMING`]. `None`: none are.
fn warming(temperature: &[(f64, f64)]) -> Option<(f64, f64)> {
    let mut within = (0..temperature.len()).map(|first| {
        let until = temperature[first].0 + WARMING;
        let last = temperature.partition_point(|(at, _)| *at <= until);
        range(&temperature[first..last])
    });
    within.find(|(low, high)| high - low > MOST_DEGREES)
}

/// A block that is not like the others.
fn unsteady(blocks: &[Block]) -> Option<String> {
    let mut sorted = powers(blocks);
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
    let (watts, n) = (powers(blocks), f64::from(BLOCKS));
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

/// Of every part. `None`: one has too few readings.
fn levels(samples: &[Sample], parts: &[(Nanos, Nanos)]) -> Option<Vec<Block>> {
    parts.iter().map(|&part| level(samples, part)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
