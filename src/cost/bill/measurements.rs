//! What a million tokens cost in every cell that was measured, and how engines' cells differ in it.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;

use super::money::{Drawn, Money, rates};
use crate::analysis::columns::nested::rows;
use crate::cost::engines::{Engine, EngineName, Measurement};
use crate::economics::figures::{Draws, Figures, Product, Sum, Uncertain};
use crate::economics::price::{JOULES_PER_KWH, Scope, Work, savings_percent};
use crate::scenario::Pricing;
use crate::scenario::pricing::Tier;
use crate::stats::compare::{self, Group};
use crate::terms::Mode;

rows! {
    /// A million tokens of a cell's phase, on the first tier.
    #[derive(Debug, Serialize)]
    pub struct MeasurementRow {
        /// The engine.
        pub engine: EngineName,
        /// Scenario name.
        pub scenario: String,
        /// Decode steps.
        pub gen_tokens: u32,
        /// What was timed.
        pub phase: Mode,
        /// Prompt tokens really sent per row.
        /// Unit: tokens.
        pub prompt_tokens: f64,
        /// Calls that count.
        pub calls: usize,
        /// Of a million tokens.
        /// Unit: seconds.
        pub seconds: Uncertain,
        /// The rate that this stands for.
        pub tokens_per_s: f64,
        /// Mean power meanwhile. Null: energy is not counted.
        /// Unit: watts.
        pub mean_watts: Option<f64>,
        /// Per million tokens.
        pub cost: Money,
    }

    /// What a tier saves against the first one.
    #[derive(Debug, Serialize)]
    pub struct TierRow {
        /// Name of the tier.
        pub tier: String,
        /// The first tier.
        pub against: String,
        /// What it costs.
        /// Unit: money per hour.
        pub per_hour: f64,
        /// Of the machine's time, whatever runs on it. Null: the first tier costs nothing.
        /// Unit: percent.
        pub saves_percent: Option<f64>,
        /// Whether its rate is the price of a machine of one's own.
        pub owned: bool,
    }

    /// Two engines with the same model, by what a million tokens of a phase cost on the first tier. Samples are the cells that both
    /// have, as published reports test: how their cells differ from each other is in them, how sure each is, is not.
    #[derive(Debug, Serialize)]
    pub struct CostComparisonRow {
        /// What was timed.
        pub phase: Mode,
        /// One engine.
        pub first: EngineName,
        /// The other.
        pub second: EngineName,
        /// Cells that both have.
        pub cells: usize,
        /// Mean over these of the first.
        /// Unit: money.
        pub mean_first: f64,
        /// The same of the second.
        /// Unit: money.
        pub mean_second: f64,
        /// Cohen's d: the difference of the means ÷ pooled standard deviation. Null: no cell costs more than another.
        /// Unit: standard deviations.
        pub cohen_d: Option<f64>,
        /// p of equal means by Student's t with pooled variance, the published form. Null: as above.
        /// Unit: probability.
        pub student_p: Option<f64>,
        /// The same by Welch's, which does not suppose equal variances. Null: as above.
        /// Unit: probability.
        pub welch_p: Option<f64>,
        /// What the means are of.
        pub scope: Scope,
    }
}

/// A row for every phase of every cell.
pub(super) fn measurements(engines: &[Engine], drawn: (&Figures, &Draws), pricing: &Pricing) -> Vec<MeasurementRow> {
    let of_one = |product: &Product| {
        let mut sum = Sum::default();
        sum.add(product, drawn.0);
        sum
    };
    let first = rates(pricing, &pricing.tiers[0]);
    let row = |(engine, of): &(&Engine, &Measurement)| {
        let (seconds, joules) = (of_one(&of.seconds), of.joules.as_ref().map(of_one));
        let kwh = joules.as_ref().map(|joules| joules.value() / JOULES_PER_KWH);
        let work = Work { seconds: seconds.value(), kwh };
        let priced = Drawn::new(&seconds, joules.as_ref(), drawn);
        MeasurementRow {
            engine: engine.name.clone(),
            scenario: of.scenario.clone(),
            gen_tokens: of.gen_tokens,
            phase: of.phase,
            prompt_tokens: of.prompt_tokens,
            calls: of.calls,
            seconds: priced.seconds(),
            tokens_per_s: work.tokens_per_s(),
            mean_watts: work.mean_watts(),
            cost: priced.cost(first, pricing.gco2e_per_kwh.is_some()),
        }
    };
    engines.iter().flat_map(cells_of).collect::<Vec<_>>().par_iter().map(row).collect()
}

fn cells_of(engine: &Engine) -> Vec<(&Engine, &Measurement)> {
    engine.measurements.iter().map(|of| (engine, of)).collect()
}

/// A row for every tier but the first.
pub(super) fn tiers(pricing: &Pricing) -> Vec<TierRow> {
    let base = &pricing.tiers[0];
    let row = |tier: &Tier| TierRow {
        tier: tier.name.clone(),
        against: base.name.clone(),
        per_hour: tier.per_hour,
        saves_percent: (base.per_hour > 0.0).then(|| savings_percent(tier.per_hour, base.per_hour)),
        owned: tier.owned,
    };
    pricing.tiers[1..].iter().map(row).collect()
}

/// A row for every phase of every two engines with the same model that have two cells in common.
pub(super) fn comparisons(rows: &[MeasurementRow]) -> Vec<CostComparisonRow> {
    let mut engines: Vec<(&EngineName, Mode)> = Vec::new();
    for row in rows {
        if !engines.contains(&(&row.engine, row.phase)) {
            engines.push((&row.engine, row.phase));
        }
    }
    let mut found = Vec::new();
    for (place, (first, phase)) in engines.iter().enumerate() {
        let others = engines[place + 1..].iter().filter(|(other, its)| its == phase && other.model == first.model);
        let same = others.filter(|(other, _)| (other.dtype, other.batch) == (first.dtype, first.batch));
        found.extend(same.filter_map(|(second, _)| comparison(rows, *phase, first, second)));
    }
    found
}

/// `None`: fewer than two cells in common.
fn comparison(
    rows: &[MeasurementRow],
    phase: Mode,
    first: &EngineName,
    second: &EngineName,
) -> Option<CostComparisonRow> {
    let of = |engine: &EngineName| {
        let own = rows.iter().filter(|row| row.engine == *engine && row.phase == phase);
        own.map(|row| ((row.scenario.as_str(), row.gen_tokens), row.cost)).collect::<Vec<_>>()
    };
    let theirs = of(second);
    let pairs = of(first).into_iter().filter_map(|(cell, cost)| {
        let (_, other) = theirs.iter().find(|(other, _)| *other == cell)?;
        Some((cost, *other))
    });
    let pairs: Vec<(Money, Money)> = pairs.collect();
    // Totals of different scope are not compared.
    let with_energy = pairs.iter().all(|(a, b)| [a.scope, b.scope] == [Scope::WithEnergy; 2]);
    let value = |cost: &Money| if with_energy { cost.total.value } else { cost.infrastructure.value };
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|(a, b)| (value(a), value(b))).unzip();
    let (a, b) = (Group::of(&a).ok()?, Group::of(&b).ok()?);
    Some(CostComparisonRow {
        phase,
        first: first.clone(),
        second: second.clone(),
        cells: pairs.len(),
        mean_first: a.mean(),
        mean_second: b.mean(),
        cohen_d: compare::cohen_d(&a, &b),
        student_p: compare::student(&a, &b).map(|test| test.p),
        welch_p: compare::welch(&a, &b).map(|test| test.p),
        scope: if with_energy { Scope::WithEnergy } else { Scope::InfrastructureOnly },
    })
}
