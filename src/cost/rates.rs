//! Any table of rates, with prices.

use std::collections::BTreeMap;

use csv::StringRecord;
use serde::Serialize;

use super::bill::rates as rates_of;
use super::request::{Coverage, Engine, by_mean_rates};
use crate::economics::figures::{Figure, Figures};
use crate::economics::price::{Cost, Draw, Scope, Work, blend};
use crate::economics::request_time::{Measured, RequestTime};
use crate::scenario::pricing::Pricing;
use crate::scenario::workload::{Bins, Requests, Workload};
use crate::scenario::{CsvError, CsvTable};
use crate::terms::{Attribution, SensorKind};

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

/// Which columns of a table hold what.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Columns whose values rows are grouped by. Empty: each row stands alone.
    pub group: Vec<String>,
    /// Rate of prefill. `None`: by its usual name.
    pub prefill: Option<String>,
    /// Rate of decode. `None`: by its usual name.
    pub decode: Option<String>,
    /// One rate for all tokens. `None`: prefill and decode have their own.
    pub rate: Option<String>,
    /// The sensor that power and energy are from. `None`: not said.
    pub sensor: Option<SensorKind>,
}

const PREFILL: [&str; 1] = ["prefill_tokens_per_s"];
const DECODE: [&str; 2] = ["decode_tokens_per_s", "kv_decode_tokens_per_s"];

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

/// Values of the columns that tell rows apart.
pub type Labels = BTreeMap<String, String>;

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

/// Rows that belong together.
struct Group {
    labels: Labels,
    rows: Vec<Rates>,
}

/// One row.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    prefill: f64,
    decode: f64,
    prefill_draw: Option<Draw>,
    decode_draw: Option<Draw>,
    /// Tokens of the prompt and the answer, as measured.
    lengths: Option<(f64, f64)>,
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
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for row in &self.rows {
            let (prompt, steps) = row.lengths?;
            let of = |figure| Measured { prompt, steps, figure };
            prefill.push(of(figures.add(Figure::exact(1e3 * prompt / row.prefill))));
            decode.push(of(figures.add(Figure::exact(1e3 / row.decode))));
        }
        RequestTime::new(&prefill, &decode, None)
    }
}

fn requests(priced: &mut PricedTable, group: &Group, phases: Phases, bins: &Bins, pricing: &Pricing, one_rate: bool) {
    let all: f64 = bins.bins.iter().map(|bin| bin.weight).sum();
    let mean = |of: fn(&crate::scenario::workload::Bin) -> u32| -> f64 {
        bins.bins.iter().map(|bin| bin.weight / all * f64::from(of(bin))).sum()
    };
    let whole = (mean(|bin| bin.prompt), mean(|bin| bin.generated));
    let mut figures = Figures::default();
    let measured = group.request_time(&mut figures).filter(|_| !one_rate).map(|time| {
        let engine = Engine { time: &time, energy: None, batch: 1.0, longest_context: None };
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
    let (seconds, other) = match rule {
        Rule::Measured => (by_times, by_rates),
        Rule::Tr119 => (by_rates, by_times),
    };
    let work = Work { seconds, ..in_proportion };
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

/// Where a table holds what.
struct Places {
    prefill: usize,
    decode: usize,
    prefill_draw: DrawColumn,
    decode_draw: DrawColumn,
    prompt: LengthColumn,
    steps: LengthColumn,
}

/// A column of power or of energy.
#[derive(Clone, Copy)]
enum DrawColumn {
    None,
    Watts(usize),
    JoulesPerToken(usize),
}

/// A column of tokens, or of the time that they took.
#[derive(Clone, Copy)]
enum LengthColumn {
    None,
    Tokens(usize),
    Milliseconds(usize),
}

impl Places {
    fn find(table: &CsvTable, wanted: &Wanted) -> Result<Self, CsvError> {
        if let Some(rate) = &wanted.rate {
            let rate = table.find(rate)?;
            let draw = DrawColumn::find(table, "")?;
            let none = LengthColumn::None;
            return Ok(Self {
                prefill: rate,
                decode: rate,
                prefill_draw: draw,
                decode_draw: draw,
                prompt: none,
                steps: none,
            });
        }
        Ok(Self {
            prefill: one_of(table, wanted.prefill.as_deref(), &PREFILL)?,
            decode: one_of(table, wanted.decode.as_deref(), &DECODE)?,
            prefill_draw: DrawColumn::find(table, "prefill_")?,
            decode_draw: DrawColumn::find(table, "decode_")?,
            prompt: LengthColumn::find(table, "prompt_tokens", "prefill_ms")?,
            steps: LengthColumn::find(table, "gen_tokens", "decode_ms")?,
        })
    }
}

/// The column asked for, else the first of the usual names that is there, else an error about the first of them.
fn one_of(table: &CsvTable, wanted: Option<&str>, usual: &[&str]) -> Result<usize, CsvError> {
    let there = usual.iter().copied().find(|name| has(table, name));
    table.find(wanted.or(there).unwrap_or(usual[0]))
}

fn has(table: &CsvTable, name: &str) -> bool {
    table.columns().any(|column| column == name)
}

impl DrawColumn {
    fn find(table: &CsvTable, phase: &str) -> Result<Self, CsvError> {
        let (joules, watts) = (format!("{phase}j_per_token"), format!("{phase}power_w"));
        if has(table, &joules) {
            return table.find(&joules).map(Self::JoulesPerToken);
        }
        if has(table, &watts) { table.find(&watts).map(Self::Watts) } else { Ok(Self::None) }
    }

    fn of(self, table: &CsvTable, record: &StringRecord) -> Result<Option<Draw>, CsvError> {
        match self {
            Self::None => Ok(None),
            Self::Watts(column) => Ok(table.number(record, column)?.map(Draw::Watts)),
            Self::JoulesPerToken(column) => Ok(table.number(record, column)?.map(Draw::JoulesPerToken)),
        }
    }
}

impl LengthColumn {
    fn find(table: &CsvTable, tokens: &str, milliseconds: &str) -> Result<Self, CsvError> {
        if has(table, tokens) {
            return table.find(tokens).map(Self::Tokens);
        }
        if has(table, milliseconds) { table.find(milliseconds).map(Self::Milliseconds) } else { Ok(Self::None) }
    }

    /// Tokens as they were measured: a rate times the time it is of, where no column counts them. Names of scenarios tell
    /// nominal lengths, which are others.
    fn of(self, table: &CsvTable, record: &StringRecord, rate: f64) -> Result<Option<f64>, CsvError> {
        let found = match self {
            Self::None => None,
            Self::Tokens(column) => table.number(record, column)?,
            Self::Milliseconds(column) => table.number(record, column)?.map(|ms| ms / 1e3 * rate),
        };
        Ok(found.filter(|tokens| *tokens > 0.0))
    }
}

fn groups(table: &CsvTable, wanted: &Wanted, notes: &mut Vec<String>) -> Result<Vec<Group>, CsvError> {
    let places = Places::find(table, wanted)?;
    let by =
        wanted.group.iter().map(|name| Ok((name.clone(), table.find(name)?))).collect::<Result<Vec<_>, CsvError>>()?;
    let names: Vec<String> = table.columns().map(str::to_owned).collect();
    let mut groups: Vec<Group> = Vec::new();
    let mut left_out = 0;
    table.rows(|record| {
        let (prefill, decode) = (table.number(record, places.prefill)?, table.number(record, places.decode)?);
        let (Some(prefill), Some(decode)) = (prefill.filter(|rate| *rate > 0.0), decode.filter(|rate| *rate > 0.0))
        else {
            left_out += 1;
            return Ok::<(), CsvError>(());
        };
        let labels = labels(record, &by, &names);
        let said = counts_energy(&labels, wanted.sensor);
        let (prompt, steps) = (places.prompt.of(table, record, prefill)?, places.steps.of(table, record, decode)?);
        let draws = (places.prefill_draw.of(table, record)?, places.decode_draw.of(table, record)?);
        if let (Some(why), (Some(_), _) | (_, Some(_))) = (&said, draws)
            && !notes.contains(why)
        {
            notes.push(why.clone());
        }
        let row = Rates {
            prefill,
            decode,
            prefill_draw: draws.0.filter(|_| said.is_none()),
            decode_draw: draws.1.filter(|_| said.is_none()),
            lengths: prompt.zip(steps),
        };
        match groups.iter_mut().find(|group| !by.is_empty() && group.labels == labels) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { labels, rows: vec![row] }),
        }
        Ok(())
    })?;
    if left_out > 0 {
        notes.push(format!("{left_out} rows without a positive rate are left out"));
    }
    Ok(groups)
}

/// Values of the columns that group; where none does, every cell that is no number.
fn labels(record: &StringRecord, by: &[(String, usize)], names: &[String]) -> Labels {
    if !by.is_empty() {
        return by.iter().map(|(name, at)| (name.clone(), record.get(*at).unwrap_or_default().to_owned())).collect();
    }
    let words = names.iter().zip(record).filter(|(_, cell)| !cell.is_empty() && cell.parse::<f64>().is_err());
    words.map(|(name, cell)| (name.clone(), cell.to_owned())).collect()
}

/// Why watts of a row are not counted. `None`: they are. A processor's energy is its package's, and tables hold what a GPU
/// draws while it idles beside it.
fn counts_energy(labels: &Labels, sensor: Option<SensorKind>) -> Option<String> {
    let name = labels.values().cloned().collect::<Vec<_>>().join(" ");
    let ran_on = Attribution { actual: Some(name), ..Attribution::default() };
    match (ran_on.device(), sensor) {
        (Some(None), None | Some(SensorKind::Nvml)) => Some(
            "power of rows that ran on the processor is left out: it may be an idle GPU's; give --sensor rapl if it is the \
             package's"
                .to_owned(),
        ),
        (Some(Some(_)), Some(SensorKind::Rapl)) => {
            Some("power of rows that ran on a GPU is left out: --sensor rapl is the processor's".to_owned())
        }
        _ => None,
    }
}
