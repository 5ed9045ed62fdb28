//! Power of a device that does nothing: what a figure's net part is measured against.

use serde::{Deserialize, Serialize};

use crate::energy::edges::Edges;
use crate::energy::{Sample, Trace, deviation, mean};
use crate::units::Nanos;

/// What idles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleKind {
    /// The device alone, before anything of ours used it.
    IdleBare,
    /// With a model resident, quiet.
    IdleCtx,
}

impl IdleKind {
    /// The name used in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdleBare => "idle_bare",
            Self::IdleCtx => "idle_ctx",
        }
    }
}

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

/// Blocks that the stretch is divided into.
const BLOCKS: u64 = 6;

/// Fastest change of idle power, in watts per second.
const LARGEST_DRIFT: f64 = 0.1;

impl Idle {
    /// Idle power between two times. `None`: no register was read often enough.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "six blocks")]
    pub fn of(kind: IdleKind, trace: &Trace, poll: Nanos, begin: Nanos, end: Nanos) -> Option<Self> {
        let edges = Edges::of(&trace.counter, poll);
        let length = end.since(begin).0 / BLOCKS;
        let block = |i: u64| (Nanos(begin.0 + i * length), Nanos(begin.0 + (i + 1) * length));
        let counted: Option<Vec<f64>> = (0..BLOCKS).map(|i| slope(&edges, block(i))).collect();
        let read: Option<Vec<f64>> = (0..BLOCKS).map(|i| level(&trace.instant, block(i))).collect();
        let averaged: Option<Vec<f64>> = (0..BLOCKS).map(|i| level(&trace.average, block(i))).collect();
        let seen = read.or(averaged);
        let blocks = counted.clone().or_else(|| seen.clone())?;
        let watts = match slope(&edges, (begin, end)) {
            Some(watts) if counted.is_some() => watts,
            _ => mean(&blocks),
        };
        let seconds = end.since(begin).as_secs();
        let drift = (blocks[blocks.len() - 1] - blocks[0]) / (seconds * (BLOCKS - 1) as f64 / BLOCKS as f64);
        let noise = deviation(&blocks) / (BLOCKS as f64).sqrt();
        let registers_differ = counted.zip(seen).map(|(counted, seen)| {
            let (counted, seen) = (mean(&counted), mean(&seen));
            (counted - seen).abs() > 0.05 * seen.abs()
        });
        let resets = edges.reset_in(begin, end).then(|| "the counter started again".to_owned());
        let drifts = (drift.abs() > LARGEST_DRIFT && drift.abs() * seconds > 3.0 * deviation(&blocks))
            .then(|| format!("power changed by {drift:+.2} W/s, at most {LARGEST_DRIFT} W/s are idle"));
        Some(Self { kind, watts, u_watts: noise, seconds, registers_differ, invalid: resets.or(drifts) })
    }

    /// The same, where a second measurement after the run gave `after`: a drift counts by half as uncertainty.
    #[must_use]
    pub fn drifted(mut self, after: &Self) -> (Self, bool) {
        let drift = (after.watts - self.watts).abs();
        self.u_watts = self.u_watts.max(drift / 2.0);
        let flagged = drift > f64::max(3.0, 0.03 * self.watts);
        (self, flagged)
    }
}

fn slope(edges: &Edges, (begin, end): (Nanos, Nanos)) -> Option<f64> {
    let inside = edges.inside(begin, end);
    let (first, last) = (inside.first()?, inside.last()?);
    (inside.len() >= 3).then(|| (last.joules - first.joules) / last.at.since(first.at).as_secs())
}

fn level(samples: &[Sample], (begin, end): (Nanos, Nanos)) -> Option<f64> {
    let inside: Vec<f64> = samples.iter().filter(|s| s.at() >= begin && s.at() < end).filter_map(|s| s.value).collect();
    (inside.len() >= 3).then(|| mean(&inside))
}
