//! Figures with prices.

mod files;
mod lacking;
mod load;
mod measurements;
mod models;
mod money;
mod routing;
mod rows;
mod slo;
mod warm;

use std::fmt;

use serde::Serialize;

use crate::analysis::Tables;
use crate::economics::figures::{DRAWS, Draws, Figures, SEED, Sum, share_of_least};
use crate::economics::price::per_million_tokens;
use crate::economics::request_time::Reach;
use crate::record::manifest::Manifest;
use crate::record::plan::Plan;
use crate::scenario::pricing::Pricing;
use crate::scenario::workload::{Bin, Bins, Requests, Slo, Workload};

use super::engines::{Engine, engines, why_none};
use super::missing::{Wanted, scenario_file};
use super::request::{self, MeanRequest, by_mean_rates};
pub use files::descriptions;
pub use load::{BreakEvenRow, CapacityRow, MonthRow, TcoRow};
pub use measurements::{CostComparisonRow, MeasurementRow, TierRow};
pub use models::ModelRow;
use money::Drawn;
pub(super) use money::rates;
pub use money::{Money, energy_told, percent, with_interval};
pub use routing::RoutingRow;
pub use rows::{PhaseRow, RequestRow, ShapeRow, ThousandRow};
pub use slo::SloRow;
pub use warm::{IdleFrom, WarmRow, warm_pools};

/// What a run costs.
#[derive(Debug, Serialize)]
pub struct Bill {
    /// Name of the pricing file.
    pub pricing: String,
    /// Label of its money.
    pub currency: String,
    /// Name of the workload. Null: none was given.
    pub workload: Option<String>,
    /// What a reader must know before the figures.
    pub notes: Vec<String>,
    /// Requests that the workload's file holds. Null: no file was read.
    pub requests_read: Option<Read>,
    /// A million tokens of each phase and blend, on every tier.
    pub phases: Vec<PhaseRow>,
    /// A million tokens of each cell's phases, on the first tier.
    pub measurements: Vec<MeasurementRow>,
    /// How these differ between engines.
    pub comparisons: Vec<CostComparisonRow>,
    /// What each tier saves.
    pub tiers: Vec<TierRow>,
    /// The workload's mean request on each engine.
    pub requests: Vec<RequestRow>,
    /// A thousand requests of the workload on every tier.
    pub thousands: Vec<ThousandRow>,
    /// The shapes of a mix, on the first tier.
    pub shapes: Vec<ShapeRow>,
    /// A router against the best engine alone.
    pub routing: Vec<RoutingRow>,
    /// Answers that must be fast.
    pub slos: Vec<SloRow>,
    /// Workers for the load.
    pub capacity: Vec<CapacityRow>,
    /// The load's month on every tier.
    pub months: Vec<MonthRow>,
    /// Buying against hiring.
    pub break_even: Vec<BreakEvenRow>,
    /// Total cost over months.
    pub tco: Vec<TcoRow>,
    /// Models kept loaded against cold starts.
    pub warm_pools: Vec<WarmRow>,
    /// Dearer models against cheaper ones.
    pub models: Vec<ModelRow>,
    /// The scenario file that would measure what is missing. Null: nothing is, or none can be made.
    pub missing_scenario: Option<String>,
}

/// What was read of a file of requests.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Read {
    /// Rows or lines.
    pub rows: u64,
    /// Distinct pairs of lengths.
    pub distinct: usize,
    /// Rows without a weight, or with one of 0.
    pub weightless: u64,
    /// Rows without both counts, such as requests that failed.
    pub without_counts: u64,
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, distinct, weightless, without_counts } = self;
        write!(
            f,
            "{rows} rows read: {distinct} lengths, {weightless} without a weight, {without_counts} without both counts"
        )
    }
}

/// What hardware is held against hire for, where nothing else is said. Unit: months.
pub const MONTHS: f64 = 36.0;

/// What a bill is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Prices.
    pub pricing: &'a Pricing,
    /// The workload with its requests by length. `None`: a million tokens of each phase is all.
    pub workload: Option<(&'a Workload, Option<&'a Bins>)>,
    /// How long machines are held against hire. Unit: months.
    pub months: f64,
    /// The run's scenario file, as text.
    pub scenario: &'a str,
    /// Success rates by model, as the user knows them: quality is not measured.
    pub success: &'a [(String, f64)],
}

/// One engine's draws.
struct Priced<'a> {
    engine: &'a Engine,
    request: MeanRequest,
    drawn: Option<Drawn>,
}

/// Makes the bill of a run.
#[must_use]
pub fn of_run(tables: &Tables, manifest: &Manifest, plan: &Plan, order: Order<'_>) -> Bill {
    let (engines, figures) = engines(tables, manifest, plan);
    let draws = figures.draw(DRAWS, SEED);
    let mut bill = Bill::empty(order);
    bill.notes.extend(tables.simulated.is_some().then(|| {
        "something in this run is scripted: what comes of it is money for nothing that was measured".to_owned()
    }));
    bill.notes.extend(engines.is_empty().then(|| why_none(tables)));
    bill.notes.extend(engines.iter().find_map(|engine| engine.process_allowance).map(|allowance| {
        let percent = percent(allowance);
        format!(
            "one process of each engine was measured, and the next one may be faster or slower: {percent} of standard deviation is \
             in all times of each; with `sessions: 5` it is measured"
        )
    }));
    phases(&mut bill, &engines, (&figures, &draws), order);
    bill.measurements = measurements::measurements(&engines, (&figures, &draws), order.pricing);
    bill.comparisons = measurements::comparisons(&bill.measurements);
    bill.warm_pools = warm_pools(tables, Some(order.pricing));
    if let Some((workload, Some(bins))) = order.workload {
        let read = Read {
            rows: bins.rows,
            distinct: bins.bins.len(),
            weightless: bins.weightless,
            without_counts: bins.without_counts,
        };
        bill.requests_read = matches!(workload.requests, Requests::Histogram(_) | Requests::Log(_)).then_some(read);
        bill.notes.extend(bill.requests_read.map(|read| read.to_string()));
        requests(&mut bill, &engines, (&figures, &draws), order, (workload, &bins.bins));
    }
    bill
}

/// Whether every measured cell, each taken as the request, is answered as fast as is asked: what a run says of SLOs without a
/// workload.
#[must_use]
pub fn slos_of_cells(tables: &Tables, manifest: &Manifest, plan: &Plan, slos: &[Slo]) -> Vec<SloRow> {
    let (engines, figures) = engines(tables, manifest, plan);
    let mut rows = Vec::new();
    let once = slos.iter().enumerate().filter(|(place, slo)| !slos[..*place].contains(slo));
    for (_, slo) in once {
        for engine in &engines {
            let cells = tables.summary.iter().filter(|row| engine.name.decodes(row));
            rows.extend(cells.filter_map(|cell| slo::of_cell(engine, &figures, cell, slo)));
        }
    }
    rows
}

impl Bill {
    /// Models that requests were priced with, in order.
    #[must_use]
    pub fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = Vec::new();
        for row in &self.requests {
            if !models.contains(&row.engine.model.as_str()) {
                models.push(&row.engine.model);
            }
        }
        models
    }

    /// What the proposed scenario file does, for the end of a sentence.
    #[must_use]
    pub fn missing_measures(&self) -> String {
        lacking::measures(&self.requests)
    }

    fn empty(order: Order<'_>) -> Self {
        Self {
            pricing: order.pricing.name.clone(),
            currency: order.pricing.currency.clone(),
            workload: order.workload.map(|(workload, _)| workload.name.clone()),
            notes: Vec::new(),
            requests_read: None,
            phases: Vec::new(),
            measurements: Vec::new(),
            comparisons: Vec::new(),
            tiers: measurements::tiers(order.pricing),
            requests: Vec::new(),
            thousands: Vec::new(),
            shapes: Vec::new(),
            routing: Vec::new(),
            slos: Vec::new(),
            capacity: Vec::new(),
            months: Vec::new(),
            break_even: Vec::new(),
            tco: Vec::new(),
            warm_pools: Vec::new(),
            models: Vec::new(),
            missing_scenario: None,
        }
    }
}

fn phases(bill: &mut Bill, engines: &[Engine], drawn: (&Figures, &Draws), order: Order<'_>) {
    for engine in engines {
        let energy = engine.energy.as_ref().ok();
        let part = |input: f64, output: f64| {
            let mixed = |prefill: &Sum, decode: &Sum| prefill.clone().times(input).and(&decode.clone().times(output));
            let seconds = mixed(&engine.prefill_million_s, &engine.decode_million_s);
            let joules = energy.map(|energy| mixed(&energy.prefill_million_j, &energy.decode_million_j));
            let between = engine.energy_between.as_ref().map(|ends| {
                [&ends.low, &ends.high].map(|end| input * end.prefill_million_j + output * end.decode_million_j)
            });
            Drawn::new(&seconds, joules.as_ref(), drawn).between(between)
        };
        let mut parts = vec![("prefill".to_owned(), part(1.0, 0.0)), ("decode".to_owned(), part(0.0, 1.0))];
        if let Some((Workload { requests: Requests::Blends(blends), .. }, _)) = order.workload {
            parts.extend(blends.iter().map(|blend| (blend.name.clone(), part(blend.input, blend.output))));
        }
        for (phase, work) in parts {
            for tier in &order.pricing.tiers {
                bill.phases.push(PhaseRow {
                    engine: engine.name.clone(),
                    tier: tier.name.clone(),
                    phase: phase.clone(),
                    seconds: work.seconds(),
                    cost: work.cost(rates(order.pricing, tier), order.pricing.gco2e_per_kwh.is_some()),
                });
            }
        }
    }
}

fn requests(
    bill: &mut Bill,
    engines: &[Engine],
    (figures, draws): (&Figures, &Draws),
    order: Order<'_>,
    (workload, bins): (&Workload, &[Bin]),
) {
    let priced: Vec<Priced<'_>> = engines.iter().map(|engine| priced(engine, figures, draws, workload, bins)).collect();
    for (place, of) in priced.iter().enumerate() {
        bill.requests.push(request_row(of, cheapest(&priced, place, order.pricing)));
        shapes(bill, of, (figures, draws), workload, order.pricing);
        let answering =
            slo::Answering { engine: of.engine, timed: of_engine(of.engine, workload), coverage: &of.request.coverage };
        bill.slos.extend(slo::rows(&answering, figures, workload, bins));
        let Some(drawn) = &of.drawn else { continue };
        for tier in &order.pricing.tiers {
            let cost = drawn.times(1000.0).cost(rates(order.pricing, tier), order.pricing.gco2e_per_kwh.is_some());
            let tokens = of.request.prompt + of.request.generated;
            bill.thousands.push(ThousandRow {
                engine: of.engine.name.clone(),
                tier: tier.name.clone(),
                coverage: of.request.coverage.share,
                cost,
                per_million_tokens: cost.total.times(per_million_tokens(1e-3, tokens)),
            });
        }
        if of.request.coverage.is_enough() {
            let carrier = load::Carrier {
                engine: &of.engine.name,
                coverage: of.request.coverage.share,
                service: of.request.service,
                request: drawn,
            };
            if let Some(rows) = load::rows(carrier, order.pricing, workload, order.months) {
                bill.capacity.push(rows.capacity);
                bill.months.extend(rows.months);
                bill.break_even.extend(rows.break_even);
                bill.tco.extend(rows.tco);
            }
        }
    }
    bill.routing = routing(&priced, (figures, draws), order, (workload, bins));
    let candidates = priced.iter().filter(|of| of.request.coverage.is_enough());
    let candidates: Vec<models::Candidate<'_>> = candidates
        .filter_map(|of| {
            let (engine, coverage) = (&of.engine.name, of.request.coverage.share);
            Some(models::Candidate { engine, coverage, request: of.drawn.as_ref()? })
        })
        .collect();
    bill.models = models::rows(&candidates, rates(order.pricing, &order.pricing.tiers[0]), order.success);
    let unknown = order.success.iter().filter(|(model, _)| !engines.iter().any(|engine| engine.name.model == *model));
    bill.notes
        .extend(unknown.map(|(model, _)| format!("--success: there is no model `{model}` with figures in this run")));
    let in_proportion = engines.iter().filter(|engine| engine.time.is_proportional());
    bill.notes.extend(
        in_proportion
            .map(|engine| format!("{}: one prompt length was measured, prefill is taken in proportion", engine.name)),
    );
    bill.notes.extend(idle_uncharged(&priced, order.pricing, workload));
    missing(bill, &priced, order, (workload, bins));
}

/// That idle time is not charged, though its power is given: a total with energy of idle time alone would be of no scope.
fn idle_uncharged(priced: &[Priced<'_>], pricing: &Pricing, workload: &Workload) -> Option<String> {
    let asked = pricing.idle_watts.is_some() && workload.requests_per_second.is_some();
    let without = priced.iter().any(|of| of.drawn.as_ref().is_some_and(|drawn| !drawn.has_energy()));
    (asked && without).then(|| {
        "idle_watts: idle time is charged beside the energy of work; where that was not measured, months, machines and totals over \
         months are infrastructure only"
            .to_owned()
    })
}

/// What a router would save, of the engines that cover enough.
fn routing(
    priced: &[Priced<'_>],
    drawn: (&Figures, &Draws),
    order: Order<'_>,
    (workload, bins): (&Workload, &[Bin]),
) -> Vec<RoutingRow> {
    let enough = priced.iter().filter(|of| of.request.coverage.is_enough());
    let choices: Vec<routing::Choice<'_>> = enough
        .filter_map(|of| {
            let (name, timed) = (&of.engine.name, of_engine(of.engine, workload));
            Some(routing::Choice { name, timed, coverage: of.request.coverage.share, request: of.drawn.as_ref()? })
        })
        .collect();
    let rates = rates(order.pricing, &order.pricing.tiers[0]);
    routing::rows(&choices, drawn, routing::Asked { bins, rates, requests_per_s: workload.requests_per_second })
}

/// The scenario file that would measure what is missing, or why there is none.
fn missing(bill: &mut Bill, priced: &[Priced<'_>], order: Order<'_>, (workload, bins): (&Workload, &[Bin])) {
    let lacking: Vec<&Priced<'_>> = priced.iter().filter(|of| !of.request.coverage.is_enough()).collect();
    if lacking.is_empty() {
        return;
    }
    let mut batches: Vec<u32> = lacking.iter().map(|of| of.engine.name.batch).collect();
    batches.sort_unstable();
    batches.dedup();
    let longest_context = lacking::longest_of(lacking.iter().map(|of| longest_context(of.engine, workload)));
    let wanted = Wanted { bins, batches: &batches, longest_context };
    match scenario_file(order.scenario, wanted) {
        Ok(file) => bill.missing_scenario = Some(file),
        Err(why) => bill.notes.push(format!("no scenario file is proposed for what was not measured: {why}")),
    }
}

fn longest_context(engine: &Engine, workload: &Workload) -> Option<u64> {
    [engine.longest_context, workload.longest_context.map(u64::from)].into_iter().flatten().min()
}

fn of_engine<'a>(engine: &'a Engine, workload: &Workload) -> request::Engine<'a> {
    request::Engine {
        time: &engine.time,
        energy: engine.energy.as_ref().ok().map(|energy| &energy.of_call),
        energy_between: engine.energy_between.as_ref().map(|ends| [&ends.low.of_call, &ends.high.of_call]),
        batch: f64::from(engine.name.batch),
        longest_context: longest_context(engine, workload),
    }
}

fn priced<'a>(engine: &'a Engine, figures: &Figures, draws: &Draws, workload: &Workload, bins: &[Bin]) -> Priced<'a> {
    let request = of_engine(engine, workload).mean_request(bins, figures);
    let covered = request.coverage.share > 0.0;
    let drawn = covered.then(|| {
        Drawn::new(&request.seconds, request.joules.as_ref(), (figures, draws)).between(request.joules_between)
    });
    Priced { engine, request, drawn }
}

fn request_row(of: &Priced<'_>, cheapest_in: Option<f64>) -> RequestRow {
    let Priced { engine, request, drawn } = of;
    let seconds = drawn.as_ref().map(Drawn::seconds);
    let by_mean_rates_s = drawn.as_ref().map(|_| by_mean_rates(request.prompt, request.generated, engine.mean_rates));
    RequestRow {
        engine: engine.name.clone(),
        coverage: request.coverage.clone(),
        prompt_tokens: request.prompt,
        gen_tokens: request.generated,
        by_mean_rates_s,
        by_mean_rates_percent: by_mean_rates_s.zip(seconds).map(|(rule, ours)| (rule / ours.value - 1.0) * 100.0),
        seconds,
        proportional: engine.time.is_proportional(),
        joules: drawn.as_ref().and_then(Drawn::joules),
        no_energy: engine.energy.as_ref().err().cloned(),
        cheapest_in,
        calls: engine.calls,
    }
}

/// In how many draws an engine is cheapest among those with its model, all of the same scope, on the first tier.
fn cheapest(all: &[Priced<'_>], place: usize, pricing: &Pricing) -> Option<f64> {
    let model = &all[place].engine.name.model;
    let rivals: Vec<(usize, &Drawn)> = all
        .iter()
        .enumerate()
        .filter(|(_, other)| other.engine.name.model == *model && other.request.coverage.is_enough())
        .filter_map(|(at, other)| Some((at, other.drawn.as_ref()?)))
        .collect();
    let own = rivals.iter().position(|(at, _)| *at == place)?;
    if rivals.len() < 2 {
        return None;
    }
    let with_energy = rivals.iter().all(|(_, drawn)| drawn.has_energy());
    let rates = rates(pricing, &pricing.tiers[0]);
    let totals: Vec<Vec<f64>> = rivals.iter().map(|(_, drawn)| drawn.totals(rates, with_energy)).collect();
    share_of_least(&totals, own)
}

fn shapes(
    bill: &mut Bill,
    of: &Priced<'_>,
    (figures, draws): (&Figures, &Draws),
    workload: &Workload,
    pricing: &Pricing,
) {
    let Requests::Mix(mix) = &workload.requests else { return };
    let engine = of_engine(of.engine, workload);
    for shape in mix {
        let bin = Bin { prompt: shape.prompt, generated: shape.generated, weight: 1.0 };
        let reach = engine.reach(&bin);
        let drawn = (reach == Reach::Covered).then(|| {
            let one = engine.mean_request(&[bin], figures);
            Drawn::new(&one.seconds, one.joules.as_ref(), (figures, draws)).between(one.joules_between)
        });
        let first = rates(pricing, &pricing.tiers[0]);
        bill.shapes.push(ShapeRow {
            engine: of.engine.name.clone(),
            shape: shape.name.clone(),
            reach,
            seconds: drawn.as_ref().map(Drawn::seconds),
            cost: drawn.map(|drawn| drawn.times(1000.0).cost(first, pricing.gco2e_per_kwh.is_some())),
        });
    }
}
