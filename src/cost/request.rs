//! A workload on one engine: how much of it was measured, and what a request of that part takes.

use serde::Serialize;

use crate::analysis::columns::nested::rows;
use crate::economics::capacity::Service;
use crate::economics::figures::{Figures, Sum};
use crate::economics::request_time::{Reach, RequestTime};
use crate::scenario::workload::Bin;

/// Less of a workload than this decides nothing.
pub const ENOUGH: f64 = 0.9;

/// The mean request of a workload, of the requests that were measured.
#[derive(Debug, Clone)]
pub struct MeanRequest {
    /// Which of the workload that are.
    pub coverage: Coverage,
    /// Its time as one of a batch. Unit: seconds.
    pub seconds: Sum,
    /// Its energy. Unit: joules. `None`: not counted.
    pub joules: Option<Sum>,
    /// What its energy lies between where it is not counted. Unit: joules. `None`: it is counted, or nothing is known of it.
    pub joules_between: Option<[f64; 2]>,
    /// Prompt tokens.
    pub prompt: f64,
    /// Tokens written.
    pub generated: f64,
    /// How long requests hold a worker. `None`: nothing was measured.
    pub service: Option<Service>,
}

rows! {
    /// How much of a workload was measured.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct Coverage {
        /// Share of requests, 0 to 1.
        /// Unit: fraction.
        pub share: f64,
        /// Shares of those outside, most first.
        pub outside: Vec<Outside>,
    }
}

/// Requests outside what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outside {
    /// Where.
    pub reach: Reach,
    /// Share of requests, 0 to 1.
    pub share: f64,
}

impl Coverage {
    /// Whether enough of it was measured to decide by.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.share >= ENOUGH
    }

    /// The most of it that could be measured: requests beyond the longest context never can. Unit: share, 0 to 1.
    #[must_use]
    pub fn within_contexts(&self) -> f64 {
        let beyond = self.outside.iter().filter(|outside| outside.reach == Reach::BeyondContext);
        1.0 - total(beyond.map(|outside| outside.share))
    }
}

/// Time and energy of requests, as sums of figures.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Unit: seconds.
    pub seconds: Sum,
    /// Unit: joules. `None`: not counted.
    pub joules: Option<Sum>,
}

impl Taken {
    /// Of no request yet.
    #[must_use]
    pub fn nothing(counts_energy: bool) -> Self {
        Self { seconds: Sum::default(), joules: counts_energy.then(Sum::default) }
    }
}

/// What an engine needs for requests.
#[derive(Debug, Clone, Copy)]
pub struct Engine<'a> {
    /// Unit: milliseconds per call.
    pub time: &'a RequestTime,
    /// Unit: joules per call. `None`: not counted.
    pub energy: Option<&'a RequestTime>,
    /// The same at both ends of what it lies between, where it is not counted. `None`: it is, or nothing is known of it.
    pub energy_between: Option<[&'a RequestTime; 2]>,
    /// Requests in a call.
    pub batch: f64,
    /// Longest prompt and answer together. Unit: tokens. `None`: not known.
    pub longest_context: Option<u64>,
}

impl Engine<'_> {
    /// Whether a request can be reckoned.
    #[must_use]
    pub fn reach(&self, bin: &Bin) -> Reach {
        let context = u64::from(bin.prompt) + u64::from(bin.generated);
        if self.longest_context.is_some_and(|longest| context > longest) {
            return Reach::BeyondContext;
        }
        self.time.reach(f64::from(bin.prompt), f64::from(bin.generated))
    }

    /// Adds so many of a covered request as one of a batch; energy where it is counted. Returns how long one of them takes. Unit:
    /// seconds.
    pub fn add(&self, bin: &Bin, times: f64, figures: &Figures, to: &mut Taken) -> f64 {
        let (prompt, steps) = (f64::from(bin.prompt), f64::from(bin.generated));
        let share = times / self.batch;
        let (prefill, decode) = (self.time.prefill(prompt), self.time.decode(prompt, steps));
        let seconds = (prefill.value(figures) + decode.value(figures)) / 1e3 / self.batch;
        to.seconds.add(&prefill.times(share / 1e3), figures);
        to.seconds.add(&decode.times(share / 1e3), figures);
        if let (Some(sum), Some(energy)) = (&mut to.joules, self.energy) {
            sum.add(&energy.prefill(prompt).times(share), figures);
            sum.add(&energy.decode(prompt, steps).times(share), figures);
        }
        seconds
    }

    /// What a covered request takes as one of a batch: seconds, and joules where they are counted.
    #[must_use]
    pub fn takes(&self, bin: &Bin, figures: &Figures) -> (f64, Option<f64>) {
        let of = |what: &RequestTime| self.of_both(what, bin, figures);
        (of(self.time) / 1e3, self.energy.map(of))
    }

    /// Of a covered request as one of a batch, both phases together.
    fn of_both(&self, of: &RequestTime, bin: &Bin, figures: &Figures) -> f64 {
        let (prompt, steps) = (f64::from(bin.prompt), f64::from(bin.generated));
        (of.prefill(prompt).value(figures) + of.decode(prompt, steps).value(figures)) / self.batch
    }

    /// The mean of many requests.
    #[must_use]
    pub fn mean_request(&self, bins: &[Bin], figures: &Figures) -> MeanRequest {
        let all = total(bins.iter().map(|bin| bin.weight));
        let mut outside: Vec<Outside> = Vec::new();
        let mut covered: Vec<&Bin> = Vec::with_capacity(bins.len());
        for bin in bins {
            match self.reach(bin) {
                Reach::Covered => covered.push(bin),
                reach => match outside.iter_mut().find(|other| other.reach == reach) {
                    Some(other) => other.share += bin.weight / all,
                    None => outside.push(Outside { reach, share: bin.weight / all }),
                },
            }
        }
        outside.sort_by(|a, b| b.share.total_cmp(&a.share));
        let weight = total(covered.iter().map(|bin| bin.weight));
        let mut taken = Taken::nothing(self.energy.is_some());
        let mut held = Vec::with_capacity(covered.len());
        for bin in &covered {
            held.push((self.add(bin, bin.weight / weight, figures, &mut taken), bin.weight));
        }
        let Taken { seconds, joules } = taken;
        let joules_between = self.energy_between.map(|ends| {
            ends.map(|end| {
                let of = |bin: &&Bin| bin.weight / weight * self.of_both(end, bin, figures);
                total(covered.iter().map(of))
            })
        });
        let mean = |of: fn(&Bin) -> u32| total(covered.iter().map(|bin| bin.weight / weight * f64::from(of(bin))));
        MeanRequest {
            coverage: Coverage { share: weight / all, outside },
            seconds,
            joules,
            joules_between,
            prompt: mean(|bin| bin.prompt),
            generated: mean(|bin| bin.generated),
            service: Service::of(held),
        }
    }
}

/// The sum; 0 of nothing, where the standard library's is −0.
fn total(of: impl Iterator<Item = f64>) -> f64 {
    of.fold(0.0, |sum, value| sum + value)
}

/// The published rule: arithmetic means of rates, whatever the lengths. Unit: seconds per request.
///
/// Source: TR119, `prompt ÷ prefill_rate + gen ÷ decode_rate`.
#[must_use]
pub fn by_mean_rates(prompt: f64, generated: f64, rates: (f64, f64)) -> f64 {
    prompt / rates.0 + generated / rates.1
}
