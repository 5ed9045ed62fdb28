//! Whether answers are as fast as they must be.

use serde::Serialize;

use crate::cost::engines::{Engine, EngineName};
use crate::cost::request::{self, Coverage};
use crate::economics::figures::Figures;
use crate::economics::request_time::Reach;
use crate::scenario::workload::{Bin, Latency, Slo, Workload};

/// Whether answers are fast enough.
#[derive(Debug, Serialize)]
pub struct SloRow {
    /// The engine.
    pub engine: EngineName,
    /// What of an answer.
    pub of: Latency,
    /// Unit: milliseconds.
    pub within_ms: f64,
    /// Of requests. Unit: percent.
    pub percentile: f64,
    /// What is found, waiting for a worker left out. Null: see `withheld`. Unit: milliseconds.
    pub found_ms: Option<f64>,
    /// Whether that is fast enough.
    pub holds: Option<bool>,
    /// Why nothing is found. Null: it is.
    pub withheld: Option<String>,
}

impl SloRow {
    /// Whether another row asks the same, of whatever engine.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.of == other.of
            && self.within_ms.to_bits() == other.within_ms.to_bits()
            && self.percentile.to_bits() == other.percentile.to_bits()
    }
}

/// An engine that answers a workload's requests.
pub(super) struct Answering<'a> {
    pub(super) engine: &'a Engine,
    pub(super) timed: request::Engine<'a>,
    pub(super) coverage: &'a Coverage,
}

/// A row for each demand of the workload.
pub(super) fn rows(of: &Answering<'_>, figures: &Figures, workload: &Workload, bins: &[Bin]) -> Vec<SloRow> {
    let row = |slo: &Slo| {
        let found = reached_ms(slo, of, figures, bins);
        let within_ms = slo.within.as_secs_f64() * 1e3;
        SloRow {
            engine: of.engine.name.clone(),
            of: slo.of,
            within_ms,
            percentile: slo.percentile,
            found_ms: found.as_ref().ok().copied(),
            holds: found.as_ref().ok().map(|ms| *ms <= within_ms),
            withheld: found.err(),
        }
    };
    workload.slos.iter().map(row).collect()
}

/// The time that so many of the requests do not exceed, if each took as long as 95 % of its calls.
fn reached_ms(slo: &Slo, of: &Answering<'_>, figures: &Figures, bins: &[Bin]) -> Result<f64, String> {
    if !of.coverage.is_enough() {
        return Err("too little of the workload was measured".to_owned());
    }
    let Some((prefill_tail, decode_tail)) = of.engine.tails else {
        return Err(format!("a cell has {} calls, and 20 are needed to know its 95th percentile", of.engine.calls));
    };
    let covered = bins.iter().filter(|bin| of.timed.reach(bin) == Reach::Covered);
    let mut times: Vec<(f64, f64)> = covered
        .map(|bin| {
            let (prompt, steps) = (f64::from(bin.prompt), f64::from(bin.generated));
            let prefill = of.timed.time.prefill(prompt).value(figures) * prefill_tail;
            let decode = of.timed.time.decode(prompt, steps).value(figures) * decode_tail;
            let time = match slo.of {
                Latency::Ttft => prefill,
                Latency::Tpot => decode / steps,
                Latency::E2e => prefill + decode,
            };
            (time, bin.weight)
        })
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = slo.percentile / 100.0 * times.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut below = 0.0;
    let reached = times.iter().find(|(_, weight)| {
        below += weight;
        below >= wanted * (1.0 - 1e-12)
    });
    reached.or(times.last()).map(|(time, _)| *time).ok_or_else(|| "nothing was measured".to_owned())
}
