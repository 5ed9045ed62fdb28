//! How much better a dearer model must be.

use serde::Serialize;

use super::money::Drawn;
use crate::analysis::columns::nested::rows;
use crate::cost::engines::EngineName;
use crate::economics::break_even::{SuccessRate, value_of_failure};
use crate::economics::figures::Uncertain;
use crate::economics::price::{Rates, Scope};

rows! {
    /// A dearer model against the next cheaper one, each on its cheapest engine, on the first tier.
    #[derive(Debug, Serialize)]
    pub struct ModelRow {
        /// The dearer one.
        pub dearer: EngineName,
        /// The cheaper one.
        pub cheaper: EngineName,
        /// Share of the workload that was measured on the one of both that reaches less of it; the rest is taken to be as the
        /// mean of it.
        /// Unit: fraction.
        pub coverage: f64,
        /// How many times as much a request costs.
        /// Unit: ratio.
        pub ratio: Uncertain,
        /// Success rate of the cheaper one, as given. Null: it was not.
        /// Unit: fraction.
        pub success_of_cheaper: Option<f64>,
        /// What the dearer one needs for the same cost per success; above 1 there is none. Null: as above.
        /// Unit: fraction.
        pub needed: Option<Uncertain>,
        /// Whether a success rate can be as high. Null: as above.
        pub feasible: Option<bool>,
        /// Success rate of the dearer one, as given. Null: it was not.
        /// Unit: fraction.
        pub success_of_dearer: Option<f64>,
        /// What a failure must cost for the dearer one to pay. Null: a success rate is not given, or it succeeds no more often.
        /// Unit: money.
        pub value_of_failure: Option<Uncertain>,
        /// What is compared.
        pub scope: Scope,
    }
}

impl ModelRow {
    /// Whether the dearer one would have to succeed in more than every request, at the lower end of the interval too.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        self.needed.and_then(|needed| needed.low).is_some_and(|low| low > 1.0)
    }
}

/// A model on an engine.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) engine: &'a EngineName,
    /// Share of the workload that was measured.
    pub(super) coverage: f64,
    /// The mean request.
    pub(super) request: &'a Drawn,
}

/// Every model against the next cheaper one, the cheapest first. `success` are rates by model.
pub(super) fn rows(candidates: &[Candidate<'_>], rates: Rates, success: &[(String, f64)]) -> Vec<ModelRow> {
    let with_energy = candidates.iter().all(|of| of.request.has_energy());
    let price = |of: &Candidate<'_>| {
        of.request.draws_of(|work| {
            let cost = work.cost(rates);
            if with_energy { cost.total() } else { cost.infrastructure }
        })
    };
    let mut best: Vec<Best> = Vec::new();
    for of in candidates {
        let (value, drawn) = price(of);
        let own = Best { engine: of.engine.clone(), coverage: of.coverage, value, drawn };
        match best.iter_mut().find(|known| known.engine.model == own.engine.model) {
            Some(known) if known.value <= value => {}
            Some(known) => *known = own,
            None => best.push(own),
        }
    }
    best.sort_by(|a, b| a.value.total_cmp(&b.value));
    let scope = if with_energy { Scope::WithEnergy } else { Scope::InfrastructureOnly };
    best.windows(2).map(|pair| row([&pair[1], &pair[0]], success, scope)).collect()
}

/// A model on its cheapest engine, with what a request costs there.
struct Best {
    engine: EngineName,
    coverage: f64,
    value: f64,
    drawn: Vec<f64>,
}

fn row([dearer, cheaper]: [&Best; 2], success: &[(String, f64)], scope: Scope) -> ModelRow {
    let rate = |of: &Best| success.iter().find(|(model, _)| *model == of.engine.model).map(|(_, rate)| *rate);
    let each = |of: &dyn Fn(f64, f64) -> f64| {
        let drawn: Vec<f64> =
            dearer.drawn.iter().zip(&cheaper.drawn).map(|(dearer, cheaper)| of(*dearer, *cheaper)).collect();
        Uncertain::of(of(dearer.value, cheaper.value), &drawn)
    };
    let (of_dearer, of_cheaper) = (rate(dearer), rate(cheaper));
    let needed = |success: f64| move |dearer: f64, cheaper: f64| SuccessRate::of(dearer, cheaper, success).needed;
    let pays = of_dearer.zip(of_cheaper).filter(|(dearer, cheaper)| dearer > cheaper);
    ModelRow {
        dearer: dearer.engine.clone(),
        cheaper: cheaper.engine.clone(),
        coverage: dearer.coverage.min(cheaper.coverage),
        ratio: each(&|dearer, cheaper| SuccessRate::of(dearer, cheaper, 1.0).ratio),
        success_of_cheaper: of_cheaper,
        needed: of_cheaper.map(|success| each(&needed(success))),
        feasible: of_cheaper.map(|success| SuccessRate::of(dearer.value, cheaper.value, success).feasible()),
        success_of_dearer: of_dearer,
        value_of_failure: pays.map(|(of_dearer, of_cheaper)| {
            each(&|dearer, cheaper| value_of_failure(dearer, cheaper, of_dearer, of_cheaper).unwrap_or_default())
        }),
        scope,
    }
}
