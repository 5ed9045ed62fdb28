//! Whether answers are as fast as they must be.

use serde::Serialize;

use crate::analysis::SummaryRow;
use crate::analysis::columns::nested::rows;
use crate::cost::engines::{Engine, EngineName};
use crate::cost::request::{self, Coverage};
use crate::economics::figures::Figures;
use crate::economics::request_time::{Reach, RequestTime};
use crate::scenario::workload::{Bin, Latency, Slo, Workload};

use super::money::percent;

rows! {
    /// Whether answers are fast enough.
    #[derive(Debug, Serialize)]
    pub struct SloRow {
        /// The engine.
        pub engine: EngineName,
        /// The measured cell that is the request: its scenario and decode length. Null: the workload's requests are.
        pub request: Option<String>,
        /// Share of the workload that was measured; 1 of a measured cell.
        /// Unit: fraction.
        pub coverage: f64,
        /// What of an answer.
        pub of: Latency,
        /// How fast it must be.
        pub within_ms: f64,
        /// Of requests.
        /// Unit: percent.
        pub percentile: f64,
        /// What is found, waiting for a worker left out: at most, if it holds, whatever was not measured being slower; at least, if it
        /// does not, that being faster. Null: see `withheld`.
        pub found_ms: Option<f64>,
        /// Whether that is fast enough.
        pub holds: Option<bool>,
        /// Why nothing is found. Null: it is.
        pub withheld: Option<String>,
    }
}

impl SloRow {
    /// Whether another row asks the same, of whatever engine.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.of == other.of
            && self.request == other.request
            && self.within_ms.to_bits() == other.within_ms.to_bits()
            && self.percentile.to_bits() == other.percentile.to_bits()
    }

    fn new(engine: &Engine, slo: &Slo, coverage: f64, found: impl FnOnce(f64) -> Result<f64, String>) -> Self {
        let within_ms = slo.within.as_secs_f64() * 1e3;
        let found = found(within_ms);
        Self {
            engine: engine.name.clone(),
            request: None,
            coverage,
            of: slo.of,
            within_ms,
            percentile: slo.percentile,
            found_ms: found.as_ref().ok().copied(),
            holds: found.as_ref().ok().map(|ms| *ms <= within_ms),
            withheld: found.err(),
        }
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
        SloRow::new(of.engine, slo, of.coverage.share, |within_ms| {
            times(slo, of, figures, bins)?.judge(slo.percentile, within_ms)
        })
    };
    workload.slos.iter().map(row).collect()
}

/// Whether a measured cell is answered as fast as is asked, as long as so many percent of the calls of the engine's cells take.
/// `None`: its prompt is not known.
pub(super) fn of_cell(engine: &Engine, figures: &Figures, cell: &SummaryRow, slo: &Slo) -> Option<SloRow> {
    let lengths = (cell.prompt_tokens.filter(|tokens| *tokens > 0.0)?, f64::from(cell.key.gen_tokens));
    let tails = engine.tails.at(slo.percentile);
    let found = tails.map(|tails| time(slo.of, &engine.time, figures, lengths, tails));
    let request = Some(format!("{}, {} tokens", cell.key.scenario, cell.key.gen_tokens));
    Some(SloRow { request, ..SloRow::new(engine, slo, 1.0, |_| found) })
}

/// What of a request's answer takes how long, its slow calls by so many times as long. Unit: milliseconds.
fn time(
    of: Latency,
    engine: &RequestTime,
    figures: &Figures,
    (prompt, steps): (f64, f64),
    (prefill_tail, decode_tail): (f64, f64),
) -> f64 {
    let prefill = engine.prefill(prompt).value(figures) * prefill_tail;
    let decode = engine.decode(prompt, steps).value(figures) * decode_tail;
    match of {
        Latency::Ttft => prefill,
        Latency::Tpot => decode / steps,
        Latency::E2e => prefill + decode,
    }
}

/// What requests take.
#[derive(Debug)]
struct Times {
    /// Of those that were measured, with their weights, the fastest first. Unit: milliseconds.
    known: Vec<(f64, f64)>,
    /// Weight of those that were not.
    unknown: f64,
}

/// Times of a workload's requests, each as long as so many percent of its calls.
fn times(slo: &Slo, of: &Answering<'_>, figures: &Figures, bins: &[Bin]) -> Result<Times, String> {
    if !of.coverage.is_enough() {
        return Err("too little of the workload was measured".to_owned());
    }
    let tails = of.engine.tails.at(slo.percentile)?;
    let mut times = Times { known: Vec::with_capacity(bins.len()), unknown: 0.0 };
    for bin in bins {
        if of.timed.reach(bin) != Reach::Covered {
            times.unknown += bin.weight;
            continue;
        }
        let lengths = (f64::from(bin.prompt), f64::from(bin.generated));
        times.known.push((time(slo.of, of.timed.time, figures, lengths, tails), bin.weight));
    }
    times.known.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(times)
}

impl Times {
    /// The time that so many percent of the requests do not exceed: if those that were not measured are slower than all others,
    /// or, where it would be too long even if they were faster, the least that it is.
    ///
    /// # Errors
    /// What was not measured decides, in words.
    fn judge(&self, percentile: f64, within_ms: f64) -> Result<f64, String> {
        let all = self.known.iter().map(|(_, weight)| weight).sum::<f64>() + self.unknown;
        let wanted = percentile / 100.0 * all;
        let at_most = self.reached(wanted).filter(|ms| *ms <= within_ms);
        let at_least = self.reached(wanted - self.unknown).filter(|ms| *ms > within_ms);
        at_most.or(at_least).ok_or_else(|| {
            let share = percent(self.unknown / all);
            format!("{share} of the requests are outside what was measured, and may be the slowest")
        })
    }

    /// The time that requests of so much weight do not exceed. `None`: fewer were measured, or no weight is asked for.
    fn reached(&self, wanted: f64) -> Option<f64> {
        if wanted <= 0.0 {
            return None;
        }
        let mut below = 0.0;
        let reached = self.known.iter().find(|(_, weight)| {
            below += weight;
            below >= wanted * (1.0 - 1e-12)
        });
        reached.map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 92 of 100 requests take 1 to 92 ms, and 8 were not measured.
    fn times(unknown: f64) -> Times {
        Times { known: (1..=92).map(|ms| (f64::from(ms), 1.0)).collect(), unknown }
    }

    #[test]
    fn what_was_not_measured_may_be_the_slowest_or_the_fastest() {
        let whole = times(0.0);
        assert_eq!((whole.judge(50.0, 50.0), whole.judge(50.0, 40.0)), (Ok(46.0), Ok(46.0)));
        let part = times(8.0);
        assert_eq!(part.judge(90.0, 90.0), Ok(90.0), "kept, however slow the others are");
        assert_eq!(part.judge(90.0, 81.0), Ok(82.0), "missed, were the others the fastest");
        assert!(part.judge(90.0, 85.0).is_err(), "82 to 90");
        assert!(part.judge(95.0, 500.0).is_err(), "the 95th is among the others");
        assert_eq!(part.judge(95.0, 80.0), Ok(87.0), "87 at least");
        assert_eq!(
            part.judge(95.0, 500.0),
            Err("8.0 % of the requests are outside what was measured, and may be the slowest".to_owned())
        );
    }
}
