//! Any table of rates, with prices.

mod columns;

use serde::Serialize;

use super::bill::rates as rates_of;
use super::request::{Coverage, Engine, by_mean_rates};
use crate::economics::figures::{Figure, Figures};
use crate::economics::price::{Cost, Draw, JOULES_PER_KWH, Scope, Work, blend, weighted};
use crate::economics::request_time::{Measured, RequestTime};
use crate::scenario::pricing::Pricing;
use crate::scenario::workload::{Bin, Bins, Requests, Workload};
use crate::scenario::{CsvError, CsvTable};

use columns::{Group, Rates, groups};
pub use columns::{Labels, Wanted};

/// How request times are made of rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Times are averaged, and taken between the lengths measured.
    Measured,
    /// Rates are averaged, and requests divided by the mean, as the published reports do.
    Tr119,
}

impl Rule {
    /// The name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Tr119 => "tr119",
        }
    }
}

/// A table of rates, priced.
#[derive(Debug, Serialize)]
pub struct PricedTable {
    /// Name of the pricing file.
    pub pricing: String,
    /// Label of its money.
    pub currency: String,
    /// Name of the workload. Null: none was given.
    pub workload: Option<String>,
    /// How times were made of rates.
    pub rule: Rule,
    /// What a reader must know before the figures.
    pub notes: Vec<String>,
    /// A million tokens of each phase and blend.
    pub phases: Vec<PhaseRow>,
    /// A thousand requests.
    pub requests: Vec<RequestRow>,
}

/// A million tokens.
#[derive(Debug, Serialize)]
pub struct PhaseRow {
    /// Which rows.
    pub of: Labels,
    /// How many these are.
    pub rows: usize,
    /// `prefill`, `decode`, `tokens`, or the name of a blend.
    pub phase: String,
    /// Name of the tier.
    pub tier: String,
    /// Unit: seconds.
    pub seconds: f64,
    /// The rate that this stands for.
    pub tokens_per_s: f64,
    /// Per million tokens.
    pub cost: Cost,
    /// All that is known of it.
    pub total: f64,
    /// What the total is of.
    pub scope: Scope,
}

/// A thousand requests.
#[derive(Debug, Serialize)]
pub struct RequestRow {
    /// Which rows of the table.
    pub of: Labels,
    /// Name of the tier.
    pub tier: String,
    /// How much of the workload is inside what the table measured. Null: it does not tell lengths, and times are taken in
    /// proportion to tokens.
    pub coverage: Option<Coverage>,
    /// Of a request. Unit: seconds.
    pub seconds: f64,
    /// Per thousand requests.
    pub cost: Cost,
    /// All that is known of it.
    pub total: f64,
    /// What the total is of.
    pub scope: Scope,
    /// The other rule's time against this one. Unit: percent. Null: the table has one rate only.
    pub other_rule_percent: Option<f64>,
}

/// Prices a table.
///
/// # Errors
/// A column that is not there, a cell that is no number.
pub fn priced(
    table: &CsvTable,
    wanted: &Wanted,
    pricing: &Pricing,
    workload: Option<(&Workload, Option<&Bins>)>,
    rule: Rule,
) -> Result<PricedTable, CsvError> {
    let mut notes = Vec::new();
    let groups = groups(table, wanted, &mut notes)?;
    let mut priced = PricedTable {
        pricing: pricing.name.clone(),
        currency: pricing.currency.clone(),
        workload: workload.map(|(workload, _)| workload.name.clone()),
        rule,
        notes,
        phases: Vec::new(),
        requests: Vec::new(),
    };
    for group in &groups {
        let Some(phases) = group.phases(rule) else { continue };
        for (phase, work) in group.named(phases, wanted.rate.is_some(), workload.map(|(workload, _)| workload)) {
            priced.phases.extend(pricing.tiers.iter().map(|tier| {
                let cost = work.cost(rates_of(pricing, tier));
                PhaseRow {
                    of: group.labels.clone(),
                    rows: group.rows.len(),
                    phase: phase.clone(),
                    tier: tier.name.clone(),
                    seconds: work.seconds,
                    tokens_per_s: work.tokens_per_s(),
                    cost,
                    total: cost.total(),
                    scope: cost.scope(),
                }
            }));
        }
        if let Some((_, Some(bins))) = workload {
            requests(&mut priced, group, phases, bins, pricing, wanted.rate.is_some());
        }
    }
    Ok(priced)
}

/// A million tokens of prefill and of decode.
#[derive(Debug, Clone, Copy)]
struct Phases {
    prefill: Work,
    decode: Work,
}

impl Group {
    /// Over the rows: times averaged, or rates, by the rule. `None`: a rate is not positive.
    fn phases(&self, rule: Rule) -> Option<Phases> {
        let of = |rate: fn(&Rates) -> f64, draw: fn(&Rates) -> Option<Draw>| {
            let works: Vec<Work> =
                self.rows.iter().map(|row| Work::of_a_million(rate(row), draw(row))).collect::<Option<_>>()?;
            let mean = Work::mean(&works)?;
            Some(match rule {
                Rule::Measured => mean,
                Rule::Tr119 => Work { seconds: 1e6 / self.mean_rate(rate), ..mean },
            })
        };
        Some(Phases {
            prefill: of(|row| row.prefill, |row| row.prefill_draw)?,
            decode: of(|row| row.decode, |row| row.decode_draw)?,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    fn mean_rate(&self, rate: fn(&Rates) -> f64) -> f64 {
        self.rows.iter().map(rate).sum::<f64>() / self.rows.len() as f64
    }

    fn named(&self, phases: Phases, one_rate: bool, workload: Option<&Workload>) -> Vec<(String, Work)> {
        if one_rate {
            return vec![("tokens".to_owned(), phases.decode)];
        }
        let mut named = vec![("prefill".to_owned(), phases.prefill), ("decode".to_owned(), phases.decode)];
        if let Some(Requests::Blends(blends)) = workload.map(|workload| &workload.requests) {
            let blended =
                blends.iter().map(|of| (of.name.clone(), blend(of.input, of.output, phases.prefill, phases.decode)));
            named.extend(blended);
        }
        named
    }

    /// How request times follow from lengths. `None`: the rows do not tell theirs.
    fn request_time(&self, figures: &mut Figures) -> Option<RequestTime> {
        self.between_lengths(figures, |row, prompt| Some((1e3 * prompt / row.prefill, 1e3 / row.decode)))
    }

    /// How the energy of requests follows from lengths. Unit: joules. `None`: rows do not tell their lengths, or one of them
    /// not the energy of both phases.
    fn request_energy(&self, figures: &mut Figures) -> Option<RequestTime> {
        self.between_lengths(figures, |row, prompt| {
            // Nothing works on 0 joules: that is no figure.
            let of = |rate: f64, draw: Option<Draw>, tokens: f64| {
                Some(draw?.joules(tokens / rate, tokens)).filter(|joules| *joules > 0.0)
            };
            Some((of(row.prefill, row.prefill_draw, prompt)?, of(row.decode, row.decode_draw, 1.0)?))
        })
    }

    /// What follows from lengths, if a row of so many prompt tokens has so much in its prefill and in a decode step.
    fn between_lengths(
        &self,
        figures: &mut Figures,
        of_row: impl Fn(&Rates, f64) -> Option<(f64, f64)>,
    ) -> Option<RequestTime> {
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for row in &self.rows {
            let (prompt, steps) = row.lengths?;
            let (of_prefill, of_step) = of_row(row, prompt)?;
            prefill.push(Measured { prompt, steps, figure: figures.add(Figure::exact(of_prefill)) });
            decode.push(Measured { prompt, steps, figure: figures.add(Figure::exact(of_step)) });
        }
        RequestTime::new(&prefill, &decode, None)
    }
}

fn requests(priced: &mut PricedTable, group: &Group, phases: Phases, bins: &Bins, pricing: &Pricing, one_rate: bool) {
    let all: f64 = bins.bins.iter().map(|bin| bin.weight).sum();
    let shares: Vec<f64> = bins.bins.iter().map(|bin| bin.weight / all).collect();
    let mean =
        |of: fn(&Bin) -> u32| weighted(&shares, &bins.bins.iter().map(|bin| f64::from(of(bin))).collect::<Vec<f64>>());
    let whole = (mean(|bin| bin.prompt), mean(|bin| bin.generated));
    let mut figures = Figures::default();
    let energy = group.request_energy(&mut figures);
    let measured = group.request_time(&mut figures).filter(|_| !one_rate).map(|time| {
        let engine =
            Engine { time: &time, energy: energy.as_ref(), energy_between: None, batch: 1.0, longest_context: None };
        engine.mean_request(&bins.bins, &figures)
    });
    let (prompt, generated) = measured.as_ref().map_or(whole, |mean| (mean.prompt, mean.generated));
    if measured.as_ref().is_some_and(|mean| mean.coverage.share <= 0.0) {
        let labels: Vec<&str> = group.labels.values().map(String::as_str).collect();
        priced.notes.push(format!("{}: nothing of the workload is inside what was measured", labels.join(", ")));
        return;
    }
    let rule = priced.rule;
    let by_rates =
        by_mean_rates(prompt, generated, (group.mean_rate(|row| row.prefill), group.mean_rate(|row| row.decode)));
    let in_proportion = phases.prefill.times(prompt / 1e6).and(phases.decode.times(generated / 1e6));
    let by_times = measured.as_ref().map_or(in_proportion.seconds, |mean| mean.seconds.value());
    let by_lengths = measured.as_ref().map(|mean| mean.joules.as_ref().map(|joules| joules.value() / JOULES_PER_KWH));
    let (seconds, kwh, other) = match rule {
        Rule::Measured => (by_times, by_lengths.unwrap_or(in_proportion.kwh), by_rates),
        Rule::Tr119 => (by_rates, in_proportion.kwh, by_times),
    };
    let work = Work { seconds, kwh };
    for tier in &pricing.tiers {
        let cost = work.times(1000.0).cost(rates_of(pricing, tier));
        priced.requests.push(RequestRow {
            of: group.labels.clone(),
            tier: tier.name.clone(),
            coverage: measured.as_ref().map(|mean| mean.coverage.clone()),
            seconds,
            cost,
            total: cost.total(),
            scope: cost.scope(),
            other_rule_percent: (!one_rate).then_some((other / seconds - 1.0) * 100.0),
        });
    }
}
