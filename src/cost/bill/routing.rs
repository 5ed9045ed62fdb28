//! What it would save to send each request to the engine that is cheapest for it, against the best engine for all.

use serde::Serialize;

use super::money::Drawn;
use crate::analysis::columns::nested::rows;
use crate::cost::engines::EngineName;
use crate::cost::request::{self, Taken};
use crate::economics::capacity::SECONDS_PER_MONTH;
use crate::economics::figures::{Draws, Figures, Uncertain};
use crate::economics::price::{JOULES_PER_KWH, Rates, Scope, Work};
use crate::economics::request_time::Reach;
use crate::scenario::workload::Bin;

rows! {
    /// A router against the best engine alone, on the first tier.
    #[derive(Debug, Serialize)]
    pub struct RoutingRow {
        /// The engine that is cheapest for all requests.
        pub alone: EngineName,
        /// Share of the workload that was measured on it; nothing is said of the rest.
        /// Unit: fraction.
        pub coverage: f64,
        /// Where a router would send requests besides, joined by `;`. Empty: nowhere, no request is cheaper on another engine.
        pub others: String,
        /// Share of the covered requests that these would take, 0 to 1.
        /// Unit: fraction.
        pub routed: f64,
        /// What a router takes off what the engine alone costs. The router is the one that the figures make best, so that this is
        /// rather too much than too little.
        /// Unit: percent.
        pub saved_percent: Uncertain,
        /// The same of a thousand requests.
        /// Unit: money.
        pub saved_per_thousand: Uncertain,
        /// The same of the load's month, as if every second could be hired. Null: no load is given.
        /// Unit: money.
        pub saved_per_month: Option<Uncertain>,
        /// What these are of.
        pub scope: Scope,
    }
}

/// An engine that covers enough of the workload.
#[derive(Clone, Copy)]
pub(super) struct Choice<'a> {
    pub(super) name: &'a EngineName,
    pub(super) timed: request::Engine<'a>,
    /// Share of the workload that was measured on it.
    pub(super) coverage: f64,
    /// The mean request that it covers.
    pub(super) request: &'a Drawn,
}

/// What is charged, for which requests.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) bins: &'a [Bin],
    pub(super) rates: Rates,
    /// `None`: no load is given.
    pub(super) requests_per_s: Option<f64>,
}

impl Asked<'_> {
    /// Of work; without energy where others have none.
    fn price(&self, work: Work, with_energy: bool) -> f64 {
        let cost = work.cost(self.rates);
        if with_energy { cost.total() } else { cost.infrastructure }
    }
}

/// A row for every model on two engines or more.
pub(super) fn rows(choices: &[Choice<'_>], drawn: (&Figures, &Draws), asked: Asked<'_>) -> Vec<RoutingRow> {
    let mut models: Vec<&str> = Vec::new();
    for choice in choices {
        if !models.contains(&choice.name.model.as_str()) {
            models.push(&choice.name.model);
        }
    }
    let of = |model: &&str| -> Vec<Choice<'_>> {
        choices.iter().copied().filter(|choice| choice.name.model == **model).collect()
    };
    models.iter().map(of).filter_map(|of_model| row(&of_model, drawn, asked)).collect()
}

/// `None`: the model has one engine only.
fn row(choices: &[Choice<'_>], (figures, draws): (&Figures, &Draws), asked: Asked<'_>) -> Option<RoutingRow> {
    let with_energy = choices.iter().all(|choice| choice.request.has_energy());
    let drawn = |of: &Drawn| of.draws_of(|work| asked.price(work, with_energy));
    let by_cost = |a: &&Choice<'_>, b: &&Choice<'_>| drawn(a.request).0.total_cmp(&drawn(b.request).0);
    let alone = choices.iter().min_by(by_cost).filter(|_| choices.len() > 1)?;
    let covered = || asked.bins.iter().filter(|bin| alone.timed.reach(bin) == Reach::Covered);
    let all: f64 = covered().map(|bin| bin.weight).sum();
    let (mut taken, mut routed) = (Taken::nothing(with_energy), 0.0);
    let mut others: Vec<&EngineName> = Vec::new();
    for bin in covered() {
        let able = choices.iter().filter(|choice| choice.timed.reach(bin) == Reach::Covered);
        let costs = able.map(|choice| {
            let (seconds, joules) = choice.timed.takes(bin, figures);
            let work = Work { seconds, kwh: joules.map(|joules| joules / JOULES_PER_KWH) };
            (asked.price(work, with_energy), choice)
        });
        let Some((_, best)) = costs.min_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
        best.timed.add(bin, bin.weight / all, figures, &mut taken);
        if best.name != alone.name {
            routed += bin.weight / all;
            if !others.contains(&best.name) {
                others.push(best.name);
            }
        }
    }
    let together = Drawn::new(&taken.seconds, taken.joules.as_ref(), (figures, draws));
    let saved = Saved { alone: drawn(alone.request), routed: drawn(&together) };
    // The same sums in another order differ in their last digits.
    let nothing = others.is_empty().then(|| Uncertain::bare(0.0));
    let per_request = nothing.unwrap_or_else(|| saved.each(|alone, routed| alone - routed));
    Some(RoutingRow {
        alone: alone.name.clone(),
        coverage: alone.coverage,
        others: others.iter().map(|name| name.on()).collect::<Vec<String>>().join("; "),
        routed,
        saved_percent: nothing.unwrap_or_else(|| saved.each(|alone, routed| (1.0 - routed / alone) * 100.0)),
        saved_per_thousand: per_request.times(1000.0),
        saved_per_month: asked.requests_per_s.map(|per_s| per_request.times(per_s * SECONDS_PER_MONTH)),
        scope: if with_energy { Scope::WithEnergy } else { Scope::InfrastructureOnly },
    })
}

/// What a request costs both ways: without drawing, and in every draw.
struct Saved {
    alone: (f64, Vec<f64>),
    routed: (f64, Vec<f64>),
}

impl Saved {
    fn each(&self, of: impl Fn(f64, f64) -> f64) -> Uncertain {
        let drawn: Vec<f64> =
            self.alone.1.iter().zip(&self.routed.1).map(|(alone, routed)| of(*alone, *routed)).collect();
        Uncertain::of(of(self.alone.0, self.routed.0), &drawn)
    }
}
