//! Time and energy, draw by draw, with prices.

use serde::Serialize;

use crate::analysis::columns::nested::rows;
use crate::economics::figures::{Draws, Figures, Sum, Uncertain};
use crate::economics::price::{JOULES_PER_KWH, Rates, Scope, Work};
use crate::scenario::pricing::{Pricing, Tier};
use crate::stats::summary::quantiles;
use crate::units::significant;

rows! {
    /// Money with its parts.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize)]
    pub struct Money {
        /// The machine's time.
        /// Unit: money.
        pub infrastructure: Uncertain,
        /// The energy. Null: not counted.
        /// Unit: money.
        pub energy: Option<Uncertain>,
        /// What the energy is at least where a figure of it is of grade D: an interval, and in no total. Null: it is counted, or nothing
        /// is known of it.
        /// Unit: money.
        pub energy_at_least: Option<f64>,
        /// What it is at most. Null: as above.
        /// Unit: money.
        pub energy_at_most: Option<f64>,
        /// All that is known of it.
        /// Unit: money.
        pub total: Uncertain,
        /// What the total is of.
        pub scope: Scope,
        /// What the energy emits. Null: energy is not counted, or no carbon intensity was given.
        /// Unit: grams of CO2 equivalent.
        pub carbon_g: Option<Uncertain>,
    }
}

/// Energy as it may be told: a figure, an interval without one, or nothing.
#[must_use]
pub fn energy_told(cost: &Money) -> Option<String> {
    let ends = cost.energy_at_least.zip(cost.energy_at_most);
    let between = ends.map(|(low, high)| format!("[{}, {}]", significant(low, 3), significant(high, 3)));
    cost.energy.map(with_interval).or(between)
}

/// A value in three digits, with its interval where it has one.
#[must_use]
pub fn with_interval(value: Uncertain) -> String {
    let short = |value: f64| significant(value, 3);
    match value.low.zip(value.high) {
        Some((low, high)) => format!("{} [{}, {}]", short(value.value), short(low), short(high)),
        None => short(value.value),
    }
}

/// A share of 1 in percent with one decimal.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A value in every draw, and without any.
#[derive(Debug, Clone)]
struct Values {
    value: f64,
    drawn: Vec<f64>,
}

impl Values {
    fn of(sum: &Sum, (figures, draws): (&Figures, &Draws)) -> Self {
        Self { value: sum.value(), drawn: sum.drawn(figures, draws) }
    }

    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { value: change(self.value), drawn: self.drawn.iter().map(|value| change(*value)).collect() }
    }

    fn uncertain(&self) -> Uncertain {
        Uncertain::of(self.value, &self.drawn)
    }
}

/// Work whose time and energy are drawn together.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    seconds: Values,
    joules: Option<Values>,
    /// What energy lies between that is not counted.
    joules_between: Option<[f64; 2]>,
}

impl Drawn {
    pub(super) fn new(seconds: &Sum, joules: Option<&Sum>, drawn: (&Figures, &Draws)) -> Self {
        let joules = joules.map(|sum| Values::of(sum, drawn));
        Self { seconds: Values::of(seconds, drawn), joules, joules_between: None }
    }

    /// The same with what energy lies between that is not counted.
    pub(super) fn between(self, joules: Option<[f64; 2]>) -> Self {
        Self { joules_between: joules, ..self }
    }

    pub(super) fn times(&self, factor: f64) -> Self {
        let times = |values: &Values| values.map(|value| value * factor);
        let joules_between = self.joules_between.map(|ends| ends.map(|joules| joules * factor));
        Self { seconds: times(&self.seconds), joules: self.joules.as_ref().map(times), joules_between }
    }

    pub(super) fn has_energy(&self) -> bool {
        self.joules.is_some()
    }

    pub(super) fn seconds(&self) -> Uncertain {
        self.seconds.uncertain()
    }

    pub(super) fn joules(&self) -> Option<Uncertain> {
        self.joules.as_ref().map(Values::uncertain)
    }

    /// Of every draw what it costs, and first of all without drawing.
    fn each(&self, cost: impl Fn(Work) -> f64) -> Values {
        let work =
            |seconds: f64, joules: Option<f64>| Work { seconds, kwh: joules.map(|joules| joules / JOULES_PER_KWH) };
        let joules = |draw: usize| self.joules.as_ref().map(|joules| joules.drawn[draw]);
        let drawn = self.seconds.drawn.iter().enumerate().map(|(draw, seconds)| cost(work(*seconds, joules(draw))));
        Values {
            drawn: drawn.collect(),
            value: cost(work(self.seconds.value, self.joules.as_ref().map(|joules| joules.value))),
        }
    }

    /// Any function of time and energy, with its interval.
    pub(super) fn uncertain(&self, of: impl Fn(Work) -> f64) -> Uncertain {
        self.each(of).uncertain()
    }

    /// The same in every draw, after what it is without drawing.
    pub(super) fn draws_of(&self, of: impl Fn(Work) -> f64) -> (f64, Vec<f64>) {
        let values = self.each(of);
        (values.value, values.drawn)
    }

    /// Totals draw by draw; without energy where others have none.
    pub(super) fn totals(&self, rates: Rates, with_energy: bool) -> Vec<f64> {
        let cost = |work: Work| {
            let cost = work.cost(rates);
            if with_energy { cost.total() } else { cost.infrastructure }
        };
        self.each(cost).drawn
    }

    pub(super) fn cost(&self, rates: Rates, carbon: bool) -> Money {
        let scope = if self.has_energy() { Scope::WithEnergy } else { Scope::InfrastructureOnly };
        let joules = |of: fn(Work, Rates) -> Option<f64>| {
            self.joules.as_ref().map(|_| self.uncertain(|work| of(work, rates).unwrap_or_default()))
        };
        let infrastructure = self.uncertain(|work| work.cost(rates).infrastructure);
        let total = if self.has_energy() { self.uncertain(|work| work.cost(rates).total()) } else { infrastructure };
        Money {
            infrastructure,
            energy: joules(|work, rates| work.cost(rates).energy),
            energy_at_least: self.joules_between.map(|[low, _]| low / JOULES_PER_KWH * rates.per_kwh),
            energy_at_most: self.joules_between.map(|[_, high]| high / JOULES_PER_KWH * rates.per_kwh),
            total,
            scope,
            carbon_g: joules(|work, rates| work.cost(rates).carbon_g).filter(|_| carbon),
        }
    }
}

/// Prices of a tier.
pub(in crate::cost) fn rates(pricing: &Pricing, tier: &Tier) -> Rates {
    Rates {
        per_hour: tier.per_hour,
        per_kwh: pricing.per_kwh,
        gco2e_per_kwh: pricing.gco2e_per_kwh.unwrap_or_default(),
    }
}

/// A whole number with the interval of what was drawn.
pub(super) fn count(value: f64, drawn: &[f64]) -> Uncertain {
    let ends = quantiles(drawn, [0.025, 0.975]);
    Uncertain { value, low: ends.map(|[low, _]| low.floor()), high: ends.map(|[_, high]| high.ceil()) }
}
